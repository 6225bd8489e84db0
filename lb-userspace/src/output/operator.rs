//! `xlvs drain`, `enable`, `disable`, `weight` and `overrides` for people.

use super::Render;
use super::table::{Column, table};
use super::units::{count, plural};
use crate::api::{Admin, OverriddenServer, OverrideAction, OverrideReport};

impl Render for OverrideReport {
    /// A line for each server.
    fn table(&self) -> String {
        match self.action {
            OverrideAction::List | OverrideAction::Clear if self.servers.is_empty() => {
                "nothing is set by hand\n".to_owned()
            }
            OverrideAction::List => list(&self.servers),
            _ => self.servers.iter().map(|server| line(&self.action, server)).collect(),
        }
    }
}

fn list(servers: &[OverriddenServer]) -> String {
    let columns = [
        Column::Text("SERVICE"),
        Column::Text("SERVER"),
        Column::Text("ORDER"),
        Column::Text("WEIGHT"),
        Column::Text("STATE"),
        Column::Number("CONNS"),
    ];
    let row = |server: &OverriddenServer| {
        vec![
            server.service.clone(),
            server.server.clone(),
            order(&server.admin).to_owned(),
            server.weight_override.map_or("-".to_owned(), |weight| {
                format!("{weight} (the file says {})", server.weight_configured)
            }),
            server.state.to_string(),
            count(server.connections_remaining),
        ]
    };
    table(&columns, servers.iter().map(row))
}

/// The verb that brought it about.
fn order(admin: &Admin) -> &str {
    match admin {
        Admin::Enabled => "-",
        Admin::Draining => "drain",
        Admin::Disabled => "disable",
        other => other.as_str(),
    }
}

/// All that are in force, as far as a line has room.
pub(super) fn overrides(report: &OverrideReport) -> String {
    const NAMED: usize = 3;
    let one = |server: &OverriddenServer| {
        let admin = Some(order(&server.admin)).filter(|word| *word != "-").map(ToOwned::to_owned);
        let weight = server.weight_override.map(|weight| format!("weight {weight}"));
        let what: Vec<String> = admin.into_iter().chain(weight).collect();
        format!("{}/{} {}", server.service, server.server, what.join(" and "))
    };
    let mut texts: Vec<String> = report.servers.iter().take(NAMED).map(one).collect();
    if let more @ 1.. = report.servers.len().saturating_sub(NAMED) {
        texts.push(format!("{more} more ('xlvs overrides')"));
    }
    texts.join(", ")
}

fn line(action: &OverrideAction, server: &OverriddenServer) -> String {
    let already = if server.changed { "" } else { " already" };
    let what = match action {
        OverrideAction::Weight => weight(server),
        OverrideAction::Clear => format!("as in the file, {}", server.state),
        _ => server.state.to_string(),
    };
    let connections = plural(server.connections_remaining, "connection");
    format!("{}/{}:{already} {what}, {connections}\n", server.service, server.server)
}

fn weight(server: &OverriddenServer) -> String {
    match server.weight_override {
        Some(weight) => format!("weight {weight} by hand (the file says {})", server.weight_configured),
        None => format!("weight {} as in the file", server.weight),
    }
}
