//! Points in time as the contract writes them.

use std::time::SystemTime;

/// A point in time; in JSON RFC 3339, UTC, ending in `Z`.
pub type Time = jiff::Timestamp;

/// The contract's form of a system time, cut to milliseconds: finer digits say nothing to a reader.
///
/// A clock outside the years that RFC 3339 can write (1 to 9999) yields the Unix epoch.
#[must_use]
pub fn time_of(clock: SystemTime) -> Time {
    Time::try_from(clock)
        .and_then(|exact| Time::from_millisecond(exact.as_millisecond()))
        .unwrap_or(Time::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::time_of;
    use std::time::{Duration, SystemTime};

    #[test]
    fn is_rfc_3339_in_utc_with_milliseconds() {
        let clock = SystemTime::UNIX_EPOCH + Duration::new(1_790_000_000, 123_456_789);
        assert_eq!(serde_json::to_string(&time_of(clock)).unwrap(), "\"2026-09-21T14:13:20.123Z\"");
    }
}
