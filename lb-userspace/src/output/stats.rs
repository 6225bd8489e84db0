//! `xlvs stats` for people.

use super::Render;
use super::table::{Column, table};
use super::units::{byte_rate, count, or_unknown, rate};
use crate::api::{Rates, ServerRates, StatsReport};

impl Render for StatsReport {
    fn table(&self) -> String {
        let columns = [
            Column::Text("SERVICE"),
            Column::Text("SERVER"),
            Column::Number("CONNS"),
            Column::Number("NEW/S"),
            Column::Number("IN PKT/S"),
            Column::Number("IN"),
            Column::Number("OUT PKT/S"),
            Column::Number("OUT"),
        ];
        let mut rows = Vec::new();
        for service in &self.services {
            rows.push(row(&service.name, "all", service.connections_active, service.rates));
            for server in &service.servers {
                let name = name(server, &service.servers);
                rows.push(row(&service.name, &name, server.connections_active, server.rates));
            }
        }
        let active = self.services.iter().map(|service| service.connections_active).sum();
        rows.push(row("total", "", active, Some(self.total)));
        let mut text = format!("over {:.1} s\n\n", self.interval_seconds);
        text += &table(&columns, rows);
        text += &occurred("VERDICT", &self.verdicts_per_second);
        text += &occurred("LOST", &self.losses_per_second);
        text
    }
}

/// With the address where the server has another.
fn name(server: &ServerRates, all: &[ServerRates]) -> String {
    match all.iter().filter(|other| other.name == server.name).count() {
        1 => server.name.clone(),
        _ => format!("{} {}", server.name, server.address),
    }
}

fn row(service: &str, server: &str, active: u64, rates: Option<Rates>) -> Vec<String> {
    vec![
        service.to_owned(),
        server.to_owned(),
        count(active),
        or_unknown(rates, |rates| rate(rates.connections_per_second)),
        or_unknown(rates, |rates| rate(rates.packets_per_second)),
        or_unknown(rates, |rates| byte_rate(rates.bytes_per_second)),
        or_unknown(rates.and_then(|rates| rates.reply_packets_per_second), rate),
        or_unknown(rates.and_then(|rates| rates.reply_bytes_per_second), byte_rate),
    ]
}

fn occurred(heading: &'static str, rates: &std::collections::BTreeMap<String, f64>) -> String {
    let rows: Vec<_> = rates
        .iter()
        .filter(|(_, per_second)| **per_second > 0.0)
        .map(|(name, per_second)| vec![name.clone(), rate(*per_second)])
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}", table(&[Column::Text(heading), Column::Number("PKT/S")], rows))
}
