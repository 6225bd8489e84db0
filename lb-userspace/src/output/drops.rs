//! `xlvs drops` for people.

use super::Render;
use super::table::{Column, table};
use super::units::{age, count};
use crate::api::{Counted, DropsReport};

impl Render for DropsReport {
    fn table(&self) -> String {
        let held_back: u64 = self.drops.iter().map(|drop| drop.packets).sum();
        let lost: u64 = self.losses.iter().map(|loss| loss.packets).sum();
        let since = self.since.map(|since| format!(" in {}", age(since, self.at))).unwrap_or_default();
        let mut text = format!(
            "{} of {} packets not forwarded{since}, {} lost after the verdict\n",
            count(held_back),
            count(self.received),
            count(lost)
        );
        text += &section("REASON", &self.drops);
        text += &section("LOST", &self.losses);
        text
    }
}

/// The reasons that occurred, the most frequent first.
fn section(heading: &'static str, counted: &[Counted]) -> String {
    let mut occurred: Vec<_> = counted.iter().filter(|it| it.packets > 0).collect();
    if occurred.is_empty() {
        return String::new();
    }
    occurred.sort_by_key(|it| std::cmp::Reverse(it.packets));
    let columns = [Column::Text(heading), Column::Number("PACKETS"), Column::Text("MEANING")];
    let rows = occurred.iter().map(|it| vec![it.reason.clone(), count(it.packets), it.meaning.clone()]);
    format!("\n{}", table(&columns, rows))
}
