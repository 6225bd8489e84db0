//! The `"schema": 1` that opens every report.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of the JSON contract. A zero-sized value: it always writes 1, and refuses to read another
/// number, so a report of a later contract is never half understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schema;

impl Schema {
    /// The number written.
    pub const VERSION: u32 = 1;
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(Self::VERSION)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            Self::VERSION => Ok(Self),
            other => Err(D::Error::custom(format!(
                "schema {other}, but this xlvs reads schema {}: use the xlvs the agent was started with",
                Self::VERSION
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Schema;

    #[test]
    fn writes_one_and_reads_only_one() {
        assert_eq!(serde_json::to_string(&Schema).unwrap(), "1");
        assert!(serde_json::from_str::<Schema>("1").is_ok());
        let refusal = serde_json::from_str::<Schema>("2").unwrap_err().to_string();
        assert!(refusal.contains("schema 2"), "{refusal}");
    }
}
