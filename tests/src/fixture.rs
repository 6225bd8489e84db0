//! One packet through the program, as data: what goes in, and everything that must be true afterwards.

use std::collections::BTreeMap;
use std::fmt;

use crate::packet::{decode, difference};

/// One case. The runner puts `input` through the program and hands what it saw to [`Fixture::judge`].
#[derive(Clone, Debug)]
pub struct Fixture {
    /// A sentence that is true when the fixture passes.
    pub description: String,
    pub input: Vec<u8>,
    /// The name of the one verdict counter that moves, as in `status -o json`.
    pub verdict: String,
    pub output: Output,
    /// How much each named counter besides the verdicts grows; those not named may not be looked at.
    pub counters: BTreeMap<String, i64>,
}

/// What becomes of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The kernel gets it, byte for byte as it came in.
    Passed,
    /// This leaves by the interface the frame came in through.
    Back(Vec<u8>),
    /// This leaves by another interface.
    Through(Vec<u8>),
    /// Nothing leaves.
    Dropped,
}

impl Output {
    /// The kernel's number of the action.
    const fn action(&self) -> u32 {
        match self {
            Self::Dropped => 1,
            Self::Passed => 2,
            Self::Back(_) => 3,
            Self::Through(_) => 4,
        }
    }
}

/// What a runner saw.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// XDP_ABORTED 0, DROP 1, PASS 2, TX 3, REDIRECT 4.
    pub action: u32,
    pub output: Vec<u8>,
    /// Growth of every verdict counter, by name.
    pub verdicts: BTreeMap<String, i64>,
    /// Growth of the other counters the runner can read, by name.
    pub counters: BTreeMap<String, i64>,
}

impl Fixture {
    /// A frame that must come out as `output` under `verdict`.
    pub fn new(description: &str, input: Vec<u8>, verdict: &str, output: Output) -> Self {
        let (description, verdict) = (description.to_owned(), verdict.to_owned());
        Self { description, input, verdict, output, counters: BTreeMap::new() }
    }

    /// Also expects `counter` to grow by `growth`.
    #[must_use]
    pub fn counts(mut self, counter: &str, growth: i64) -> Self {
        self.counters.insert(counter.to_owned(), growth);
        self
    }

    /// Every way in which what was seen is not what must be; the error is the whole story, to be printed.
    pub fn judge(&self, seen: &Observation) -> Result<(), Mismatch> {
        let mut complaints = Vec::new();
        let moved: Vec<(&String, &i64)> = seen.verdicts.iter().filter(|(_, growth)| **growth != 0).collect();
        if moved != [(&self.verdict, &1)] {
            complaints.push(format!("verdict: expected {} 1, got {}", self.verdict, list(&moved)));
        }
        let wanted = self.output.action();
        if seen.action != wanted {
            complaints.push(format!("expected {}, got {}", action(wanted), action(seen.action)));
        }
        match &self.output {
            _ if seen.action <= 1 => {}
            Output::Dropped => {}
            Output::Passed => complaints.extend(difference(&self.input, &seen.output)),
            Output::Back(expected) | Output::Through(expected) => {
                complaints.extend(difference(expected, &seen.output));
            }
        }
        for (name, expected) in &self.counters {
            match seen.counters.get(name) {
                Some(growth) if growth == expected => {}
                Some(growth) => {
                    complaints.push(format!("counter {name}: expected {expected:+}, got {growth:+}"));
                }
                None => complaints
                    .push(format!("counter {name}: expected {expected:+}, the runner reads no such")),
            }
        }
        if complaints.is_empty() {
            return Ok(());
        }
        Err(Mismatch { description: self.description.clone(), complaints, input: self.input.clone() })
    }
}

/// A fixture that failed, ready to be read.
#[derive(Clone, Debug)]
pub struct Mismatch {
    pub description: String,
    pub complaints: Vec<String>,
    input: Vec<u8>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "NOT TRUE: {}", self.description)?;
        for complaint in &self.complaints {
            writeln!(formatter, "  {}", complaint.replace('\n', "\n  "))?;
        }
        let fields = decode(&self.input).into_iter();
        let fields =
            fields.map(|field| format!("{} {}", field.name, field.value)).collect::<Vec<_>>().join(", ");
        write!(formatter, "  input: {fields}")
    }
}

impl std::error::Error for Mismatch {}

fn list(moved: &[(&String, &i64)]) -> String {
    if moved.is_empty() {
        return "none".to_owned();
    }
    moved.iter().map(|(name, growth)| format!("{name} {growth}")).collect::<Vec<_>>().join(" and ")
}

fn action(number: u32) -> String {
    match number {
        0 => "XDP_ABORTED".to_owned(),
        1 => "XDP_DROP".to_owned(),
        2 => "XDP_PASS".to_owned(),
        3 => "XDP_TX".to_owned(),
        4 => "XDP_REDIRECT".to_owned(),
        other => format!("the unknown action {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Frame, Ipv4, Tcp};

    fn frame(ttl: u8) -> Vec<u8> {
        Frame::new([2; 6], [4; 6], Ipv4::new([1, 2, 3, 4], [5, 6, 7, 8], Tcp::syn(1, 2, 3)).ttl(ttl)).bytes()
    }

    fn seen(action: u32, output: Vec<u8>, verdicts: &[(&str, i64)]) -> Observation {
        let verdicts = verdicts.iter().map(|(name, growth)| ((*name).to_owned(), *growth)).collect();
        Observation { action, output, verdicts, counters: BTreeMap::from([("packets".to_owned(), 1)]) }
    }

    #[test]
    fn what_is_as_expected_passes() {
        let forwarded = Fixture::new("ttl falls", frame(64), "forwarded_nat", Output::Back(frame(63)));
        let forwarded = forwarded.counts("packets", 1);
        forwarded.judge(&seen(3, frame(63), &[("forwarded_nat", 1), ("passed", 0)])).unwrap();
        let dropped = Fixture::new("ttl ran out", frame(1), "dropped_ttl", Output::Dropped);
        dropped.judge(&seen(1, frame(1), &[("dropped_ttl", 1)])).unwrap();
    }

    #[test]
    fn each_deviation_is_told() {
        let fixture = Fixture::new("ttl falls", frame(64), "forwarded_nat", Output::Back(frame(63)));
        let fixture = fixture.counts("packets", 2).counts("bytes", 3);
        let mismatch =
            fixture.judge(&seen(3, frame(64), &[("forwarded_nat", 1), ("passed", 1)])).unwrap_err();
        let told = mismatch.to_string();
        assert_eq!(mismatch.complaints.len(), 4, "{told}");
        for part in [
            "forwarded_nat 1 and passed 1",
            "ipv4.ttl: expected 63, got 64",
            "expected +2, got +1",
            "no such",
        ] {
            assert!(told.contains(part), "{part} is missing in {told}");
        }
        let unmoved = Fixture::new("x", frame(64), "passed", Output::Passed).judge(&seen(1, frame(64), &[]));
        assert_eq!(unmoved.unwrap_err().complaints.len(), 2);
    }
}
