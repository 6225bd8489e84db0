//! Bytes as people and JSON write them: two hexadecimal digits each.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Bytes; a string of digits in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Hex {
    type Err = String;

    /// Spaces and colons between digits are of no matter.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut digits = Vec::new();
        for c in text.chars().filter(|c| !c.is_whitespace() && *c != ':') {
            let digit = c.to_digit(16).ok_or_else(|| format!("{c:?} is no hexadecimal digit"))?;
            digits.push(digit as u8);
        }
        if !digits.len().is_multiple_of(2) {
            return Err(format!("{} digits are no whole number of bytes; write two for each", digits.len()));
        }
        Ok(Self(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Hex;

    #[test]
    fn reads_what_it_writes_and_what_people_write() {
        let bytes = Hex(vec![0x00, 0xab, 0x7f]);
        assert_eq!(bytes.to_string(), "00ab7f");
        for text in ["00ab7f", "00:AB:7f", "00ab 7f\n"] {
            assert_eq!(text.parse(), Ok(bytes.clone()));
        }
        assert!("0".parse::<Hex>().unwrap_err().contains("two for each"));
        assert!("0g".parse::<Hex>().unwrap_err().contains("'g'"));
    }
}
