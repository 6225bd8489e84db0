//! The HTTP statuses that count as success.

use std::fmt;
use std::ops::RangeInclusive;

use super::source::Reported;
use super::table::{Entry, quoted};

/// A set of HTTP statuses, 100 to 599, never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StatusSet(Vec<RangeInclusive<u16>>);

const STATUSES: RangeInclusive<u16> = 100..=599;
const REMEDY: &str = "write a status such as 200, a range such as \"200-399\", or a list of them";

impl StatusSet {
    /// Whether an answer of this status is a success.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }

    /// The ranges it is made of.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> {
        self.0.iter().cloned()
    }

    pub(super) fn read(entry: &Entry<'_>) -> Result<Self, Reported> {
        if !entry.is_list() {
            return read_range(entry).map(|range| Self(vec![range]));
        }
        let items = entry.items(REMEDY)?;
        if items.is_empty() {
            return Err(entry.problem("expect is empty, no answer could be a success", REMEDY));
        }
        let ranges: Vec<_> = items.iter().map(read_range).collect();
        ranges.into_iter().collect::<Result<_, _>>().map(Self::merged)
    }

    /// Puts ranges into one order, whatever the order of the file, so that equal sets compare equal.
    fn merged(mut ranges: Vec<RangeInclusive<u16>>) -> Self {
        ranges.sort_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end() + 1 => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

impl Default for StatusSet {
    /// 200 to 399: the server answers, and does not complain.
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match range.start() == range.end() {
                true => write!(f, "{}", range.start())?,
                false => write!(f, "{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

fn read_range(entry: &Entry<'_>) -> Result<RangeInclusive<u16>, Reported> {
    let range = match (entry.as_integer(), entry.as_text()) {
        (Some(status), _) => u16::try_from(status).ok().map(|status| status..=status),
        (None, Some(text)) => parse_range(text),
        (None, None) => return Err(entry.wrong_type("a status or a range of them", "expect = \"200-399\"")),
    };
    let is_valid = |range: &RangeInclusive<u16>| {
        range.start() <= range.end() && STATUSES.contains(range.start()) && STATUSES.contains(range.end())
    };
    range.filter(is_valid).ok_or_else(|| {
        let found = entry.as_text().map_or_else(|| entry.found(), quoted);
        entry.problem(format!("{found} is not an HTTP status from 100 to 599"), REMEDY)
    })
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_and_adjacent_ranges_are_one() {
        let set = StatusSet::merged(vec![300..=399, 200..=204, 205..=210, 404..=404]);
        assert_eq!(set.to_string(), "200-210,300-399,404");
        assert!(set.contains(205) && !set.contains(211) && set.contains(404));
        assert_eq!(set, StatusSet::merged(vec![404..=404, 200..=210, 300..=399, 300..=310]));
    }
}
