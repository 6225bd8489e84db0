//! Numbers as people read them.

use crate::api::Time;

/// A count with its thousands apart: `1,048,576`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes in decimal units: `0 B`, `999 B`, `1.5 kB`, `34.0 MB`.
pub(super) fn bytes(number: u64) -> String {
    if number < 1000 { format!("{number} B") } else { format!("{}B", scaled(number as f64)) }
}

/// Bytes per second: `1.5 kB/s`.
pub(super) fn byte_rate(rate: f64) -> String {
    if rate < 999.5 { format!("{rate:.0} B/s") } else { format!("{}B/s", scaled(rate)) }
}

/// Events per second: `0`, `0.3`, `42`, `9,120`, `1.2 M`.
pub(super) fn rate(rate: f64) -> String {
    match rate {
        rate if rate < 0.05 => "0".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate if rate < 99_999.5 => count(rate.round() as u64),
        rate => scaled(rate).trim_end().to_owned(),
    }
}

/// What is not known.
pub(super) const UNKNOWN: &str = "-";

/// A known value's text, or [`UNKNOWN`].
pub(super) fn or_unknown<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), text)
}

/// The time from `since` to `now` in its two largest units: `12s`, `3m 2s`, `4h 5m`, `2d 3h`. A `since`
/// that lies ahead, from a clock that was set back, is `0s`.
#[must_use]
pub fn age(since: Time, now: Time) -> String {
    seconds(now.duration_since(since).as_secs().max(0).unsigned_abs())
}

/// A number of seconds in its two largest units.
pub(super) fn seconds(total: u64) -> String {
    let (days, hours, minutes) = (total / 86_400, total / 3600 % 24, total / 60 % 60);
    match total {
        0..60 => format!("{total}s"),
        60..3600 => format!("{minutes}m {}s", total % 60),
        3600..86_400 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// `1 server`, `2 servers`.
pub(super) fn plural(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", count(number)) }
}

fn scaled(number: f64) -> String {
    let mut number = number / 1000.0;
    for unit in ["k", "M", "G", "T", "P"] {
        if number < 999.95 {
            return format!("{number:.1} {unit}");
        }
        number /= 1000.0;
    }
    format!("{number:.1} E")
}

#[cfg(test)]
mod tests {
    use super::{age, byte_rate, bytes, count, plural, rate, seconds};
    use crate::api::Time;

    #[test]
    fn counts_have_their_thousands_apart() {
        let texts = [0, 7, 999, 1000, 1_048_576].map(count);
        assert_eq!(texts, ["0", "7", "999", "1,000", "1,048,576"]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn bytes_use_decimal_units() {
        let texts = [0, 999, 1000, 1500, 999_949, 999_950, 34_000_000].map(bytes);
        assert_eq!(texts, ["0 B", "999 B", "1.0 kB", "1.5 kB", "999.9 kB", "1.0 MB", "34.0 MB"]);
        assert_eq!(bytes(u64::MAX), "18.4 EB");
    }

    #[test]
    fn rates_have_no_more_digits_than_they_deserve() {
        let texts = [0.0, 0.31, 42.4, 9120.0, 1_234_567.0].map(rate);
        assert_eq!(texts, ["0", "0.3", "42", "9,120", "1.2 M"]);
        assert_eq!([0.4, 999.4, 1500.0].map(byte_rate), ["0 B/s", "999 B/s", "1.5 kB/s"]);
    }

    #[test]
    fn ages_name_two_units() {
        let texts = [0, 59, 60, 182, 3600, 14_700, 86_400, 183_600].map(seconds);
        assert_eq!(texts, ["0s", "59s", "1m 0s", "3m 2s", "1h 0m", "4h 5m", "1d 0h", "2d 3h"]);
        let at = |second| Time::from_second(second).unwrap();
        assert_eq!(age(at(10), at(15)), "5s");
        assert_eq!(age(at(15), at(10)), "0s");
    }

    #[test]
    fn nouns_follow_their_number() {
        assert_eq!([0, 1, 2].map(|number| plural(number, "server")), ["0 servers", "1 server", "2 servers"]);
    }
}
