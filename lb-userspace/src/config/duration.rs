//! Durations: a whole number and its unit, such as "30s".

use std::ops::RangeInclusive;
use std::time::Duration;

use super::source::Reported;
use super::table::{Entry, quoted, shortened};

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a duration that must lie within these bounds.
pub(super) fn read(entry: &Entry<'_>, bounds: RangeInclusive<Duration>) -> Result<Duration, Reported> {
    let Some(text) = entry.as_text() else {
        return Err(match entry.as_integer() {
            Some(0..) => bare_number(entry, &entry.found()),
            Some(_) => out_of_bounds(entry, &bounds),
            None => entry.wrong_type("a duration with its unit", &format!("{} = \"30s\"", entry.key)),
        });
    };
    let duration = parse(text).map_err(|problem| match problem {
        DurationError::NoUnit => bare_number(entry, &shortened(text.trim())),
        DurationError::TooLong => out_of_bounds(entry, &bounds),
        DurationError::NotADuration => {
            let what = format!("{} is not a duration", quoted(text));
            entry.problem(what, "write a whole number and ms, s, m, h or d, such as \"30s\"")
        }
    })?;
    if bounds.contains(&duration) { Ok(duration) } else { Err(out_of_bounds(entry, &bounds)) }
}

fn bare_number(entry: &Entry<'_>, number: &str) -> Reported {
    let what = format!("{number} could mean {number}s or {number}ms");
    entry.problem(what, format!("write \"{number}s\" or \"{number}ms\""))
}

fn out_of_bounds(entry: &Entry<'_>, bounds: &RangeInclusive<Duration>) -> Reported {
    let what = format!("{} = {} is out of range", entry.key, entry.found());
    entry.problem(what, format!("write a duration from {} to {}", show(*bounds.start()), show(*bounds.end())))
}

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationError {
    /// A number whose unit cannot be known.
    NoUnit,
    /// More milliseconds than fit 64 bits.
    TooLong,
    /// Anything else.
    NotADuration,
}

/// Parses a duration as the configuration and the command line write it: a whole number followed by
/// `ms`, `s`, `m`, `h` or `d`.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit = text[digits.len()..].trim_start();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DurationError::NotADuration);
    }
    if unit.is_empty() {
        return Err(DurationError::NoUnit);
    }
    let Some((_, milliseconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(DurationError::NotADuration);
    };
    let number: u64 = digits.parse().map_err(|_| DurationError::TooLong)?;
    number.checked_mul(*milliseconds).map(Duration::from_millis).ok_or(DurationError::TooLong)
}

/// Writes a duration in the largest unit that keeps it whole, so that `parse` gives it back.
/// What is finer than a millisecond is left out.
pub fn show(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, length) = UNITS
        .into_iter()
        .rev()
        .find(|(_, length)| milliseconds != 0 && milliseconds.is_multiple_of(*length))
        .unwrap_or(("s", 1_000));
    format!("{}{unit}", milliseconds / length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_has_its_length() {
        let seconds = |text| parse(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("250ms"), Ok(0.25));
        assert_eq!(seconds("30s"), Ok(30.0));
        assert_eq!(seconds("2m"), Ok(120.0));
        assert_eq!(seconds("1h"), Ok(3600.0));
        assert_eq!(seconds("1d"), Ok(86_400.0));
    }

    #[test]
    fn what_is_no_duration_is_told_apart() {
        assert_eq!(parse("30"), Err(DurationError::NoUnit));
        assert_eq!(parse("99999999999999999999s"), Err(DurationError::TooLong));
        assert_eq!(parse("999999999999999999d"), Err(DurationError::TooLong));
        for text in ["", "s", "-1s", "1.5s", "30 seconds", "1m30s", "٣s"] {
            assert_eq!(parse(text), Err(DurationError::NotADuration), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_their_largest_whole_unit() {
        assert_eq!(show(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(show(Duration::from_secs(90)), "90s");
        assert_eq!(show(Duration::from_secs(900)), "15m");
        assert_eq!(show(Duration::ZERO), "0s");
    }

    proptest! {
        #[test]
        fn showing_and_parsing_are_inverse(milliseconds in any::<u64>()) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }
    }
}
