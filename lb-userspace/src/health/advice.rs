//! What servers say themselves, by HAProxy's agent-check protocol: one line of words. Pure.
//!
//! `75%` is a share of the configured weight; `ready`, `drain` and `maint` are what an operator would order; `up`, and `down`,
//! `fail` or `stopped` with a reason after `#`, are states; `maxconn:30` is a limit. Words come in any order, with spaces, tabs
//! or commas between them, in either case. What is not said stays as it was said before, so only the agent can undo its words.

use std::fmt;

/// What the words of a server's agent have come to so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advice {
    pub share: Share,
    pub order: Order,
    /// Why it calls itself down, in its own words; `None`: it does not.
    pub fault: Option<String>,
    /// The connections it is ready to have at once.
    pub max_connections: Option<u32>,
}

/// What an agent may order as an operator would; the later, the more is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Order {
    #[default]
    Ready,
    Drain,
    Maint,
}

/// A share of a weight, in eighths: each further step would have the service's table made anew for little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    eighths: u16,
}

/// The longest line that is listened to; what follows is not for us.
pub const LONGEST_LINE: usize = 512;
/// The largest percentage: ten times the weight.
const MOST_PERCENT: u32 = 1000;
/// How far a percentage must lie beyond the middle between two steps to leave one for the other, in thousandths: a load that
/// wavers about the middle changes nothing.
const RELUCTANCE: u32 = 20;

/// A word that means nothing to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(pub String);

impl Share {
    pub const WHOLE: Self = Self { eighths: 8 };
    /// Into how many parts a weight is divided.
    pub const PARTS: u16 = 8;

    /// So many eighths, as another director has settled them; at most what a percentage comes to.
    #[must_use]
    pub fn of_eighths(eighths: u16) -> Self {
        const MOST: u16 = (MOST_PERCENT * Share::PARTS as u32 / 100) as u16;
        Self { eighths: eighths.min(MOST) }
    }

    /// So many eighths of a weight.
    #[must_use]
    pub fn eighths(self) -> u16 {
        self.eighths
    }

    /// The share for a percentage, given the one in force. What is more than nothing is at least one eighth.
    #[must_use]
    pub fn settled(self, percent: u32) -> Self {
        let thousandths = percent.min(MOST_PERCENT) * 10;
        let away = thousandths.abs_diff(u32::from(self.eighths) * 125);
        // Nothing and everything are meant exactly.
        let stays = away * 2 <= 125 + 2 * RELUCTANCE && percent > 0 && percent != 100 && self.eighths > 0;
        if stays {
            return self;
        }
        let nearest = (thousandths + 62) / 125;
        let eighths = if percent == 0 { 0 } else { nearest.max(1) };
        Self { eighths: eighths as u16 }
    }

    /// In percent, rounded down.
    #[must_use]
    pub fn percent(self) -> u32 {
        u32::from(self.eighths) * 100 / 8
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl Advice {
    /// Takes in what an agent has said. Words that mean nothing are told, the others count.
    pub fn hear(&mut self, said: &[u8]) -> Vec<Unknown> {
        let said = &said[..said.len().min(LONGEST_LINE)];
        let line = said.split(|byte| matches!(byte, b'\n' | b'\r' | 0)).next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        // What stands behind the sharp is for people, words or not.
        let (words, reason) = match line.split_once('#') {
            Some((words, reason)) => (words, Some(printable(reason))),
            None => (&*line, None),
        };
        let words = words.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        words.filter_map(|word| self.hear_word(word, reason.as_deref()).err()).collect()
    }

    fn hear_word(&mut self, word: &str, reason: Option<&str>) -> Result<(), Unknown> {
        let unknown = || Unknown(printable(word));
        let number = |digits: &str| match digits.bytes().all(|digit| digit.is_ascii_digit()) {
            true if !digits.is_empty() => Ok(digits.parse().unwrap_or(u32::MAX)),
            _ => Err(unknown()),
        };
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "ready" => self.order = Order::Ready,
            "drain" => self.order = Order::Drain,
            "maint" => self.order = Order::Maint,
            "up" => self.fault = None,
            "down" | "fail" | "failed" | "stopped" => {
                let reason = reason.filter(|reason| !reason.is_empty());
                self.fault =
                    Some(reason.map_or_else(|| lower.clone(), |reason| format!("{lower}: {reason}")));
            }
            _ => {
                if let Some(digits) = lower.strip_suffix('%') {
                    self.share = self.share.settled(number(digits)?);
                } else if let Some(digits) = lower.strip_prefix("maxconn:") {
                    self.max_connections = Some(number(digits)?);
                } else {
                    return Err(unknown());
                }
            }
        }
        Ok(())
    }
}

/// A stranger's text, on one line and short.
fn printable(text: &str) -> String {
    text.trim().chars().filter(|character| !character.is_control()).take(120).collect()
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend((self.share != Share::WHOLE).then(|| format!("{}%", self.share.percent())));
        words.extend(match self.order {
            Order::Ready => None,
            Order::Drain => Some("drain".to_owned()),
            Order::Maint => Some("maint".to_owned()),
        });
        words.extend(self.fault.clone());
        words.extend(self.max_connections.map(|most| format!("maxconn:{most}")));
        f.write_str(&if words.is_empty() { "ready, up".to_owned() } else { words.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(lines: &[&str]) -> Advice {
        let mut advice = Advice::default();
        for line in lines {
            assert_eq!(advice.hear(line.as_bytes()), [], "{line:?}");
        }
        advice
    }

    /// The answers that HAProxy's manual gives as examples, and those of its own tests.
    #[test]
    fn every_word_of_the_protocol_is_understood() {
        assert_eq!(after(&["75%\n"]).share.percent(), 75);
        assert_eq!(after(&["drain\n"]).order, Order::Drain);
        assert_eq!(after(&["maint"]).order, Order::Maint);
        assert_eq!(after(&["drain", "ready\r\n"]), Advice::default());
        assert_eq!(after(&["down # disk full\n"]).fault.as_deref(), Some("down: disk full"));
        assert_eq!(after(&["fail#validity test"]).fault.as_deref(), Some("fail: validity test"));
        assert_eq!(after(&["stopped"]).fault.as_deref(), Some("stopped"));
        assert_eq!(after(&["down", "up\n"]), Advice::default());
        assert_eq!(after(&["maxconn:30\n"]).max_connections, Some(30));
        let all = after(&["UP ready,50%\tmaxconn:100 \r\n"]);
        assert_eq!((all.share.percent(), all.max_connections), (50, Some(100)));
        assert_eq!(after(&["up 0%"]).share.eighths(), 0);
        assert_eq!(after(&["200%"]).share.eighths(), 16);
    }

    #[test]
    fn what_is_not_said_stays() {
        let advice = after(&["drain 50%", "up", "maxconn:7", "down"]);
        assert_eq!(
            (advice.order, advice.share.percent(), advice.max_connections),
            (Order::Drain, 50, Some(7))
        );
        assert_eq!(advice.fault.as_deref(), Some("down"));
    }

    #[test]
    fn the_first_line_alone_counts_and_a_reason_is_no_word() {
        assert_eq!(after(&["up\ndrain\n"]), Advice::default());
        let advice = after(&["down # drain 50% maint"]);
        assert_eq!((advice.order, advice.share), (Order::Ready, Share::WHOLE));
    }

    #[test]
    fn garbage_is_told_and_what_stands_beside_it_counts() {
        let mut advice = Advice::default();
        let told = advice.hear(b"hello, 50%, -3%, % maxconn: maxconn:x 4.5%\n");
        let words: Vec<_> = told.iter().map(|Unknown(word)| word.as_str()).collect();
        assert_eq!(words, ["hello", "-3%", "%", "maxconn:", "maxconn:x", "4.5%"]);
        assert_eq!(advice.share.percent(), 50);
    }

    #[test]
    fn a_load_that_wavers_about_the_middle_of_two_steps_changes_the_share_once() {
        let mut share = Share::WHOLE;
        let mut changes = 0;
        for percent in [82, 80, 82, 81, 80, 82, 81, 83, 80] {
            let next = share.settled(percent);
            changes += u32::from(next != share);
            share = next;
        }
        assert_eq!(changes, 1);
    }

    proptest! {
        #[test]
        fn a_share_is_near_its_percentage(before in 0u32..=200, percent in 0u32..=2000) {
            let share = Share::WHOLE.settled(before).settled(percent);
            let meant = percent.min(1000);
            prop_assert_eq!(share.eighths() == 0, percent == 0);
            let away = (i64::from(share.eighths()) * 125 - i64::from(meant) * 10).abs();
            prop_assert!(away <= 63 + 20 || share.eighths() == 1, "{} for {}%", share.percent(), percent);
        }

        #[test]
        fn any_bytes_are_survived(said in prop::collection::vec(any::<u8>(), 0..700)) {
            let mut advice = Advice::default();
            for Unknown(word) in advice.hear(&said) {
                prop_assert!(!word.contains(char::is_control) && word.chars().count() <= 120);
            }
            prop_assert!(!advice.to_string().contains(char::is_control));
        }
    }
}
