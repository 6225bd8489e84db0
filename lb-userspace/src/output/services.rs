//! `xlvs services` for people.

use super::Render;
use super::table::{Column, table};
use super::units::{UNKNOWN, byte_rate, bytes, count, or_unknown, rate};
use crate::api::{Listener, ServiceStatus, ServicesReport};

impl Render for ServicesReport {
    fn table(&self) -> String {
        if self.services.is_empty() {
            return "no service is configured\n".to_owned();
        }
        let columns = [
            Column::Text("SERVICE"),
            Column::Text("MODE"),
            Column::Number("UP"),
            Column::Number("CONNS"),
            Column::Number("NEW/S"),
            Column::Number("IN"),
            Column::Number("OUT"),
            Column::Text("LISTENS ON"),
        ];
        let rows = self.services.iter().map(|service| {
            vec![
                service.name.clone(),
                service.way(),
                up(service),
                count(service.connections_active),
                or_unknown(service.rates, |rates| rate(rates.connections_per_second)),
                or_unknown(service.rates, |rates| byte_rate(rates.bytes_per_second)),
                or_unknown(service.rates.and_then(|rates| rates.reply_bytes_per_second), byte_rate),
                listeners(&service.listeners),
            ]
        });
        table(&columns, rows)
    }
}

/// The services with their totals, as `status` shows them.
pub(super) fn services_table(services: &[ServiceStatus]) -> String {
    let columns = [
        Column::Text("SERVICE"),
        Column::Text("MODE"),
        Column::Number("UP"),
        Column::Number("CONNS"),
        Column::Number("TOTAL"),
        Column::Number("IN"),
        Column::Number("OUT"),
        Column::Text("LISTENS ON"),
    ];
    let rows = services.iter().map(|service| {
        vec![
            service.name.clone(),
            service.way(),
            up(service),
            count(service.connections_active),
            count(service.connections_total),
            bytes(service.bytes),
            or_unknown(service.reply_bytes, bytes),
            listeners(&service.listeners),
        ]
    });
    table(&columns, rows)
}

fn up(service: &ServiceStatus) -> String {
    format!("{}/{}", service.servers_up(), service.servers_configured())
}

/// The first one and how many there are: a service on a range of ports has hundreds.
fn listeners(listeners: &[Listener]) -> String {
    match listeners {
        [] => UNKNOWN.to_owned(),
        [only] => only.to_string(),
        [first, more @ ..] => format!("{first} and {} more", more.len()),
    }
}
