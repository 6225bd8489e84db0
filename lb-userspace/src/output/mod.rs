//! Reports as people read them: pure functions from the contract's types to text.
//!
//! Ages are counted from the report's own time, never from the reader's clock, so the same report always
//! renders to the same text. No colours, no borders: the text is as good in a log or a mail.

mod affinity;
mod change;
mod check;
mod cluster;
mod connections;
mod drops;
mod explain;
mod headline;
mod operator;
mod peers;
mod servers;
mod services;
mod stats;
mod status;
mod table;
mod units;

use serde::Serialize;

pub use units::age;

/// The form in which a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// A report that can be shown to people.
pub trait Render {
    /// Its text, ending in a line break.
    fn table(&self) -> String;
}

/// The report in the form asked for, ending in a line break.
///
/// # Errors
/// Only if the report cannot be written as JSON: an infinite rate, for one.
pub fn text<R: Render + Serialize>(report: &R, format: Format) -> serde_json::Result<String> {
    match format {
        Format::Table => Ok(report.table()),
        Format::Json => serde_json::to_string_pretty(report).map(|json| json + "\n"),
    }
}
