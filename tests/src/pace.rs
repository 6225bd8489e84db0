//! How long to wait for what takes a processor's time. Limits are written for a machine as one has it; who knows that this one is
//! slower says so once, in the environment.

use std::env;
use std::time::Duration;

/// How many times longer than elsewhere this machine takes: a whole number, 1 if it is not set.
pub const VARIABLE: &str = "XLVS_PATIENCE";

/// `limit` on this machine. For waits that end by themselves, not for times that are measured.
///
/// # Panics
/// The variable is no whole number from 1 on.
#[must_use]
pub fn limit(limit: Duration) -> Duration {
    limit * factor(env::var(VARIABLE).ok().as_deref())
}

fn factor(wish: Option<&str>) -> u32 {
    let Some(wish) = wish else { return 1 };
    match wish.parse() {
        Ok(times) if times > 0 => times,
        _ => panic!("${VARIABLE} is {wish:?}, and has to be a whole number from 1 on"),
    }
}

#[cfg(test)]
mod tests {
    use super::factor;

    #[test]
    fn a_limit_is_multiplied_or_stays() {
        assert_eq!((factor(None), factor(Some("4"))), (1, 4));
    }

    #[test]
    #[should_panic(expected = "from 1 on")]
    fn nobody_waits_for_nothing() {
        factor(Some("0"));
    }
}
