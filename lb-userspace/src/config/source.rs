//! One configuration text and the problems found in it so far.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::problem::{Place, Problem};

/// A configuration text under examination. Problems are gathered here, so that a reader can go on
/// after reporting one.
pub(super) struct Source {
    name: Arc<str>,
    text: String,
    line_starts: Vec<usize>,
    mended: OnceCell<String>,
    findings: RefCell<Findings>,
}

#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
    /// Lines that could not be read at all. What else seems wrong with them follows from that.
    spoiled: BTreeSet<u32>,
}

/// Proof that a problem has been reported: the error of every reader in this module, so that nothing
/// can fail in silence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported(());

/// A position in a source.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) source: &'a Source,
    offset: usize,
}

/// A value together with where it stands, for checks that compare several.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a, T> {
    pub(super) value: T,
    pub(super) spot: Spot<'a>,
}

impl Source {
    /// A text that is known to be UTF-8.
    pub(super) fn from_text(name: &str, text: &str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let name = name.chars().flat_map(printable).collect::<String>().into();
        Self {
            name,
            text: text.to_owned(),
            line_starts,
            mended: OnceCell::new(),
            findings: RefCell::default(),
        }
    }

    /// Whatever a file holds: each line with bytes that are not UTF-8 is reported and otherwise ignored.
    pub(super) fn from_bytes(name: &str, bytes: &[u8]) -> Self {
        let source = Self::from_text(name, &String::from_utf8_lossy(bytes));
        let mut offset = 0;
        for chunk in bytes.utf8_chunks() {
            offset += chunk.valid().len();
            if let Some(byte) = chunk.invalid().first() {
                let what = format!("the byte 0x{byte:02x} is not valid UTF-8");
                source.spot(offset).spoil(what, "save the file in UTF-8");
                offset += char::REPLACEMENT_CHARACTER.len_utf8();
            }
        }
        source
    }

    /// A file that could not be read: nothing but the problem.
    pub(super) fn unreadable(name: &str, what: String, remedy: &str) -> Self {
        let source = Self::from_text(name, "");
        source.spot(0).spoil(what, remedy);
        source
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text without what cannot be read, made when it is first asked for; it lives as long as the text itself.
    pub(super) fn mended_by(&self, mend: impl FnOnce() -> String) -> &str {
        self.mended.get_or_init(mend)
    }

    pub(super) fn spot(&self, offset: usize) -> Spot<'_> {
        Spot { source: self, offset }
    }

    /// The line, counted from 1, on which this byte offset lies.
    pub(super) fn line(&self, offset: usize) -> u32 {
        saturate(self.line_starts.partition_point(|start| *start <= offset))
    }

    /// The byte range of a line counted from 1, without its line break.
    pub(super) fn line_range(&self, line: u32) -> Range<usize> {
        let index = line as usize - 1;
        let end = self.line_starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        self.line_starts[index]..end
    }

    pub(super) fn line_count(&self) -> u32 {
        saturate(self.line_starts.len())
    }

    /// Whether a part of the text could not be read, so that nothing can be said to be missing from it.
    pub(super) fn is_broken(&self) -> bool {
        !self.findings.borrow().spoiled.is_empty()
    }

    /// The problems reported so far, in the order of their discovery.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.findings.into_inner().problems
    }
}

impl Spot<'_> {
    /// Whether this is further down in the same text.
    pub(super) fn is_after(&self, other: Spot<'_>) -> bool {
        self.offset > other.offset
    }

    pub(super) fn place(&self) -> Place {
        let line = self.source.line(self.offset);
        let start = self.source.line_range(line).start;
        let before = self.source.text.get(start..self.offset).unwrap_or_default();
        Place { file: self.source.name.clone(), line, column: saturate(before.chars().count() + 1) }
    }

    /// Reports a value, key or table that is wrong.
    pub(super) fn problem(&self, what: impl Into<String>, remedy: impl Into<String>) -> Reported {
        let place = self.place();
        let mut findings = self.source.findings.borrow_mut();
        if !findings.spoiled.contains(&place.line) {
            findings.problems.push(Problem { place, what: what.into(), remedy: remedy.into() });
        }
        Reported(())
    }

    /// Reports that something is not there. In a text of which a part could not be read this is no
    /// news: it may stand in that part.
    pub(super) fn missing(&self, what: impl Into<String>, remedy: impl Into<String>) -> Reported {
        if self.source.is_broken() { Reported(()) } else { self.problem(what, remedy) }
    }

    /// Reports that this line cannot be read; nothing else will be reported about it.
    pub(super) fn spoil(&self, what: impl Into<String>, remedy: impl Into<String>) -> Reported {
        let reported = self.problem(what, remedy);
        let line = self.source.line(self.offset);
        self.source.findings.borrow_mut().spoiled.insert(line);
        reported
    }
}

/// A character as it may appear in a message of one line.
pub(super) fn printable(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control().then(|| character.escape_default());
    let plain = escaped.is_none().then_some(character);
    escaped.into_iter().flatten().chain(plain)
}

fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn columns_count_characters() {
        let source = Source::from_text("f", "ä = 1\nöö = 22\n");
        let at = source.text().find("22").expect("it is there");
        assert_eq!(source.spot(at).place().to_string(), "f:2:6");
        assert_eq!(source.spot(source.text().len()).place().to_string(), "f:3:1");
    }

    #[test]
    fn a_line_that_is_not_utf8_is_reported_once_and_the_rest_is_read() {
        let source = Source::from_bytes("f", b"a = 1\n# \xff\xfe\nb = 2\n");
        assert!(source.text().ends_with("b = 2\n"));
        let problems = source.into_problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].place.to_string(), "f:2:3");
    }

    #[test]
    fn a_file_name_cannot_break_the_line() {
        let source = Source::from_text("a\nb", "");
        assert_eq!(source.spot(0).place().to_string(), "a\\nb:1:1");
    }
}
