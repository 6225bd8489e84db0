//! `xlvs affinity` for people.

use super::Render;
use super::table::{Column, table};
use super::units::{UNKNOWN, count, plural, seconds};
use crate::api::{AffineSource, AffinityReport};

impl Render for AffinityReport {
    fn table(&self) -> String {
        if self.cleared > 0 {
            return format!("{} forgotten\n", plural(self.cleared, "source"));
        }
        if self.sources.is_empty() {
            return match self.matching {
                0 => "no source matches\n".to_owned(),
                matching => format!("{} match, none listed\n", count(matching)),
            };
        }
        let columns = [
            Column::Text("SOURCE"),
            Column::Text("GROUP"),
            Column::Text("SERVICES"),
            Column::Text("SERVER"),
            Column::Number("IDLE"),
            Column::Number("TIMEOUT"),
        ];
        let mut text = table(&columns, self.sources.iter().map(row));
        let listed = self.sources.len() as u64;
        if listed < self.matching {
            text += &format!("\n{} of {} listed; --limit shows more\n", count(listed), count(self.matching));
        }
        text
    }
}

fn row(source: &AffineSource) -> Vec<String> {
    vec![
        format!("{}/{}", source.source, source.prefix_length),
        source.group.clone().unwrap_or_else(|| "-".to_owned()),
        source.services.join(", "),
        source.server.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
        seconds(source.idle_seconds),
        seconds(source.timeout_seconds),
    ]
}
