//! `xlvs connections` for people.

use super::Render;
use super::table::{Column, table};
use super::units::{UNKNOWN, count, seconds};
use crate::api::{Connection, ConnectionsReport};
use std::net::{IpAddr, SocketAddr};

impl Render for ConnectionsReport {
    fn table(&self) -> String {
        let listed = self.connections.len() as u64;
        if listed == 0 {
            return match self.matching {
                0 => "no connection matches\n".to_owned(),
                matching => format!("{} match, none listed\n", count(matching)),
            };
        }
        let by_full_nat = self.connections.iter().any(|connection| connection.sent_from.is_some());
        let mut columns = vec![
            Column::Text("PROTO"),
            Column::Text("CLIENT"),
            Column::Text("VIP"),
            Column::Text("SERVICE"),
            Column::Text("SERVER"),
            Column::Text("CLASS"),
            Column::Number("IDLE"),
            Column::Text(""),
        ];
        if by_full_nat {
            columns.insert(3, Column::Text("SENT FROM"));
        }
        let rows = self.connections.iter().map(|connection| {
            let mut row = row(connection);
            if by_full_nat {
                let sent_from = connection.sent_from.map_or_else(|| "-".to_owned(), |from| from.to_string());
                row.insert(3, sent_from);
            }
            row
        });
        let mut text = table(&columns, rows);
        if listed < self.matching {
            text += &format!("\n{} of {} listed; --limit shows more\n", count(listed), count(self.matching));
        }
        if !self.addresses {
            text += "\nclient addresses are not noted ([datapath] client_addresses)\n";
        }
        text
    }
}

fn row(connection: &Connection) -> Vec<String> {
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    vec![
        connection.protocol.to_string(),
        endpoint(connection.client, connection.client_port),
        endpoint(connection.vip, connection.port),
        name(&connection.service),
        name(&connection.server),
        connection.class.to_string(),
        seconds(connection.idle_seconds),
        if connection.diverged { "diverged".to_owned() } else { String::new() },
    ]
}

fn endpoint(address: Option<IpAddr>, port: Option<u16>) -> String {
    match (address, port) {
        (Some(address), Some(port)) => SocketAddr::new(address, port).to_string(),
        (Some(address), None) => address.to_string(),
        (None, Some(port)) => format!("{UNKNOWN}:{port}"),
        (None, None) => UNKNOWN.to_owned(),
    }
}
