//! Reads a text as TOML and goes on after a mistake, so that one run shows them all.
//!
//! The parser recovers from most mistakes by itself but gives up at some, and one slip makes it report
//! several. So: keep the first report of a line or of a value, blank out what it concerns, parse again
//! what is left, until nothing new turns up.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::source::Source;
use super::table::quoted;

/// Looking for more mistakes ends after this many rounds: the file is no TOML at all.
const ROUNDS: u32 = 16;

/// The tree of a text. Lines that cannot be read as TOML are reported and left out of it; all places stay.
pub(super) fn tree(source: &Source) -> DeTable<'_> {
    let (tree, errors) = parse(source.text());
    if errors.is_empty() {
        return tree;
    }
    DeTable::parse_recoverable(source.mended_by(|| mended(source))).0.into_inner()
}

/// The tree of what stands before the first list of tables, as `[[service]]` is: of a file with thousands of them, all that
/// who looks for a key of the root needs to read. `None` if it cannot be read by itself.
pub(crate) fn head(text: &str) -> Option<DeTable<'_>> {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("[[") {
            break;
        }
        end += line.len();
    }
    // What is cut within a text or a list of several lines is not closed, which is a mistake.
    let (tree, errors) = DeTable::parse_recoverable(&text[..end]);
    errors.is_empty().then(|| tree.into_inner())
}

fn parse(text: &str) -> (DeTable<'_>, Vec<Error>) {
    let (tree, mut errors) = DeTable::parse_recoverable(text);
    errors.retain(|error| error.span().is_some());
    errors.sort_by_key(|error| error.span().map(|span| (span.start, span.end)));
    (tree.into_inner(), errors)
}

/// The text without the lines that cannot be read as TOML, each of which is reported. They are blanked out.
fn mended(source: &Source) -> String {
    let mut text = source.text().to_owned();
    for _ in 0..ROUNDS {
        let unreadable = {
            let (tree, errors) = parse(&text);
            report(source, &tree, &errors)
        };
        if unreadable.is_empty() {
            break;
        }
        for line in unreadable {
            blank(&mut text, source.line_range(line));
        }
    }
    text
}

/// Reports what is new among these errors and tells which lines to leave out of the next round.
fn report(source: &Source, tree: &DeTable<'_>, errors: &[Error]) -> BTreeSet<u32> {
    let mut values = Vec::new();
    collect_values(tree, &mut values);
    values.sort_by_key(|value| value.span.start);
    let mut unreadable = BTreeSet::new();
    let mut explained_to = None;
    for error in errors {
        let at = error.span().unwrap_or_default();
        let line = source.line(at.start);
        if unreadable.contains(&line) || Some(at.start) <= explained_to {
            continue;
        }
        match enclosing(&values, &at) {
            Some(value) if source.line(value.span.start) < source.line(value.span.end) => {
                unreadable.extend(report_long_value(source, value, &at, error));
                explained_to = Some(value.span.end);
            }
            Some(value) if value.is_scalar => {
                let raw = &source.text()[value.span.clone()];
                let (what, remedy) = explain_scalar(raw);
                source.spot(value.span.start).spoil(what, remedy);
                unreadable.insert(line);
            }
            _ => {
                let (what, remedy) = explain(source, error, &at);
                source.spot(at.start).spoil(what, remedy);
                // A header stays: without it, the keys below would fall to the table above.
                if !source.text()[source.line_range(line)].trim_start().starts_with('[') {
                    unreadable.insert(line);
                }
            }
        }
    }
    unreadable
}

struct Value {
    span: Range<usize>,
    is_scalar: bool,
}

/// The outermost values that stand behind an `=`.
fn collect_values(table: &DeTable<'_>, values: &mut Vec<Value>) {
    for (key, value) in table {
        let follows_its_key = value.span().start > key.span().end;
        match value.get_ref() {
            DeValue::Table(inner) if !follows_its_key => collect_values(inner, values),
            DeValue::Array(items) if !follows_its_key => {
                for item in items {
                    if let DeValue::Table(inner) = item.get_ref() {
                        collect_values(inner, values);
                    }
                }
            }
            inner => {
                values.push(Value { span: value.span(), is_scalar: !(inner.is_table() || inner.is_array()) });
            }
        }
    }
}

/// Among values in order; none lies in another.
fn enclosing<'v>(values: &'v [Value], at: &Range<usize>) -> Option<&'v Value> {
    let until = values.partition_point(|value| value.span.start <= at.start);
    values[..until].last().filter(|value| at.start <= value.span.end)
}

/// A list, table or text over several lines. One that is never closed swallows the lines after it;
/// those are read in the next round.
fn report_long_value(source: &Source, value: &Value, at: &Range<usize>, error: &Error) -> Range<u32> {
    let raw = &source.text()[value.span.clone()];
    let (kind, closing) = match raw.as_bytes().first() {
        Some(b'[') => ("list", "]"),
        Some(b'{') => ("table", "}"),
        Some(b'\'') => ("text", "'''"),
        _ => ("text", "\"\"\""),
    };
    let first = source.line(value.span.start);
    if raw.len() > closing.len() && raw.ends_with(closing) && at.end < value.span.end {
        let (what, remedy) = explain(source, error, at);
        source.spot(at.start).spoil(what, remedy);
        first..source.line(value.span.end) + 1
    } else {
        let what = format!("the {kind} that begins here is not closed");
        source.spot(value.span.start).spoil(what, format!("write its closing {closing}"));
        let swallowed = source.line(at.start).clamp(first + 1, source.line_count());
        first..if kind == "text" { source.line(value.span.end) + 1 } else { swallowed }
    }
}

fn explain_scalar(raw: &str) -> (String, String) {
    let quote = raw.chars().next().filter(|first| matches!(first, '"' | '\''));
    if raw.is_empty() {
        ("a value is missing after `=`".to_owned(), "write one, or remove the line".to_owned())
    } else if let Some(quote) = quote {
        let what = format!("the text {} is not closed or holds an unknown escape", quoted(raw));
        (what, format!("close it with {quote} and write a backslash as \\\\"))
    } else if raw.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = raw.trim_start_matches('0');
        (
            format!("the number {raw} begins with 0"),
            format!("write {}", if number.is_empty() { "0" } else { number }),
        )
    } else {
        let what = format!("{} is neither a number nor a text in quotes", quoted(raw));
        (what, format!("put quotes around a text: {}", quoted(raw)))
    }
}

fn explain(source: &Source, error: &Error, at: &Range<usize>) -> (String, String) {
    let (message, wanted) = error.message().split_once(", expected ").unwrap_or((error.message(), ""));
    let found = source.text().get(at.clone()).unwrap_or_default();
    let in_header = source.text()[source.line_range(source.line(at.start))].trim_start().starts_with('[');
    let (what, remedy) = match message {
        "duplicate key" if in_header => {
            let remedy = "keep one of the two, a table that repeats is written [[in double brackets]]";
            (format!("the table {} is given a second time", quoted(found)), remedy)
        }
        "duplicate key" => {
            (format!("the key {} is given a second time", quoted(found)), "keep one of the two")
        }
        "key with no value" => ("this is no TOML: a key without a value".to_owned(), "write key = value"),
        "unclosed table" | "unclosed array of tables" => {
            ("the header is not closed".to_owned(), "write its closing bracket")
        }
        "unexpected key or value" => {
            ("something stands behind the value".to_owned(), "begin a new line for each key")
        }
        _ if wanted == "`,`" => (format!("this is no TOML: {message}"), "write a comma"),
        _ if wanted.is_empty() || wanted == "nothing" => {
            (format!("this is no TOML: {message}"), "remove it or correct it")
        }
        _ => return (format!("this is no TOML: {message}"), format!("write {wanted}")),
    };
    (what, remedy.to_owned())
}

/// Replaces a part of the text by as many spaces, so that all places stay.
fn blank(text: &mut String, range: Range<usize>) {
    let spaces = " ".repeat(range.len());
    text.replace_range(range, &spaces);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let source = Source::from_text("f", text);
        tree(&source);
        source.into_problems().iter().map(ToString::to_string).collect()
    }

    fn places_of(text: &str) -> Vec<String> {
        let mut places: Vec<_> = problems_of(text)
            .iter()
            .map(|line| line.split(": ").next().unwrap_or_default().to_owned())
            .collect();
        places.sort();
        places
    }

    #[test]
    fn each_slip_is_reported_once_and_the_rest_is_read() {
        let text = "a = \nname \"web\"\nb = nat\nc = 2\n[x]\nd = \"open\ne = 01\n[x]\nf = 10.1.1.1\n";
        assert_eq!(places_of(text), ["f:1:5", "f:2:6", "f:3:5", "f:6:5", "f:7:5", "f:8:2", "f:9:5"]);
        let source = Source::from_text("f", text);
        let tree = tree(&source);
        assert!(tree.contains_key("c"), "{tree:?}");
    }

    #[test]
    fn a_list_left_open_swallows_nothing() {
        let source = Source::from_text("f", "a = [1,\nb = 2\n[t]\nc = 3\n");
        let tree = tree(&source);
        assert!(tree.contains_key("b") && tree.contains_key("t"), "{tree:?}");
        let problems = source.into_problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            problems[0].to_string(),
            "f:1:5: the list that begins here is not closed; write its closing ]"
        );
    }

    #[test]
    fn a_comma_missing_in_a_long_list_is_one_problem() {
        assert_eq!(places_of("a = [\n 1\n 2,\n]\nb = 3\n"), ["f:3:2"]);
    }

    #[test]
    fn a_head_is_read_without_its_services_unless_it_is_not_whole() {
        let head = head("include = [\n  \"a\",\n]\n[agent]\nx = 1\n  [[service]]\nnonsense\n").unwrap();
        assert!(head.contains_key("include") && head.contains_key("agent") && !head.contains_key("service"));
        assert!(super::head("[agent]\nx = 1\n").is_some(), "there is nothing behind it");
        assert!(super::head("x = \"\"\"\n[[\n\"\"\"\ninclude = [\"a\"]\n").is_none(), "cut within a text");
        assert!(super::head("x = [\n[[1]],\n]\ninclude = [\"a\"]\n").is_none(), "cut within a list");
    }

    #[test]
    fn a_text_left_open_is_one_problem() {
        assert_eq!(places_of("a = '''x\nb = 2\n[c]\n"), ["f:1:5"]);
    }
}
