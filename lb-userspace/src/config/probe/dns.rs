//! A question for a DNS server.

use std::fmt;

use crate::config::choice::{self, Choice};
use crate::config::source::Reported;
use crate::config::table::{Entry, Layered, quoted};

/// A question; the server passes if it answers without an error and with at least one record of that type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DnsProbe {
    /// Labels of 1 to 63 bytes of visible ASCII, 253 in all, without the dot at the end; empty: the root.
    pub name: String,
    /// What is asked for.
    pub record: RecordType,
}

/// A type of resource record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub enum RecordType {
    A,
    Ns,
    Soa,
    Mx,
    Txt,
    Aaaa,
    Srv,
}

impl RecordType {
    /// Its number (RFC 1035, section 3.2.2; RFC 3596; RFC 2782).
    pub fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ns => 2,
            Self::Soa => 6,
            Self::Mx => 15,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }
}

impl Choice for RecordType {
    const OFFERED: &'static [(&'static str, Self)] = &[
        ("A", Self::A),
        ("AAAA", Self::Aaaa),
        ("NS", Self::Ns),
        ("SOA", Self::Soa),
        ("MX", Self::Mx),
        ("TXT", Self::Txt),
        ("SRV", Self::Srv),
    ];
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

const EXAMPLE: &str = "query = \"example.org\"";

pub(super) fn read(table: &Layered<'_>) -> Result<DnsProbe, Reported> {
    let name = table.require("query", EXAMPLE, read_name);
    let record = table.read_or("record", RecordType::A, choice::read);
    Ok(DnsProbe { name: name?, record: record? })
}

fn read_name(entry: &Entry<'_>) -> Result<String, Reported> {
    let text = entry.text(EXAMPLE)?;
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label =
        |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic());
    if (text == "." || name.split('.').all(is_label)) && name.len() <= 253 {
        return Ok(name.to_owned());
    }
    let what = format!("{} is not a name that can be asked for", quoted(text));
    Err(entry.problem(what, format!("write {EXAMPLE}, in Punycode if need be")))
}
