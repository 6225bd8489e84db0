//! `xlvs servers` for people.

use super::Render;
use super::table::{Column, table};
use super::units::{age, byte_rate, count, or_unknown, rate};
use crate::api::{
    Admin, AgentOrder, AgentStatus, Health, Rates, ServerState, ServerStatus, ServersReport, Time,
};

impl Render for ServersReport {
    fn table(&self) -> String {
        if self.servers.is_empty() {
            return "no server is configured\n".to_owned();
        }
        let columns = [
            Column::Text("SERVICE"),
            Column::Text("SERVER"),
            Column::Text("ADDRESS"),
            Column::Number("WEIGHT"),
            Column::Text("STATE"),
            Column::Text("SINCE"),
            Column::Number("CONNS"),
            Column::Number("NEW/S"),
            Column::Number("TRAFFIC"),
            Column::Text("NOTE"),
        ];
        let rows = self.servers.iter().map(|entry| {
            let server = &entry.status;
            vec![
                entry.service.clone(),
                server.name.clone(),
                address(server),
                weight(server),
                state(server),
                or_unknown(server.since, |since| age(since, self.at)),
                count(server.connections_active),
                or_unknown(server.rates, |rates| rate(rates.connections_per_second)),
                or_unknown(server.rates, |rates| byte_rate(traffic(rates))),
                note(server, self.at),
            ]
        });
        table(&columns, rows) + &footnote(self)
    }
}

fn address(server: &ServerStatus) -> String {
    match server.port {
        Some(port) => std::net::SocketAddr::new(server.address, port).to_string(),
        None => server.address.to_string(),
    }
}

/// A star marks what was set by hand.
fn weight(server: &ServerStatus) -> String {
    let star = if server.weight_override.is_some() { "*" } else { "" };
    format!("{}{star}", server.weight)
}

fn state(server: &ServerStatus) -> String {
    let star = if server.admin == Admin::Enabled { "" } else { "*" };
    format!("{}{star}", server.state)
}

/// Both directions, as far as they pass here.
fn traffic(rates: Rates) -> f64 {
    rates.bytes_per_second + rates.reply_bytes_per_second.unwrap_or(0.0)
}

/// Only what tells something: that a server is up because its checks pass is no news.
fn note(server: &ServerStatus, now: Time) -> String {
    let backup = server.backup.then_some("backup".to_owned());
    let id = server.server_id.as_ref().map(|id| format!("id {id}"));
    let reason = server.reason.clone().filter(|_| server.state != ServerState::Up);
    let agent = server.agent.as_ref().and_then(agent);
    backup
        .into_iter()
        .chain(id)
        .chain(reason)
        .chain(agent)
        .chain(wavering(server, now))
        .collect::<Vec<_>>()
        .join("; ")
}

/// What its own agent says, unless it lets the server be.
fn agent(agent: &AgentStatus) -> Option<String> {
    let AgentStatus { percent, order, fault, max_connections, trouble } = agent;
    let mut words = Vec::new();
    words.extend((*percent != 100).then(|| format!("{percent}%")));
    words.extend((*order != AgentOrder::Ready).then(|| order.to_string()));
    words.extend(fault.clone());
    words.extend(max_connections.map(|most| format!("maxconn:{most}")));
    words.extend(trouble.as_ref().map(|trouble| format!("({trouble})")));
    (!words.is_empty()).then(|| format!("agent: {}", words.join(" ")))
}

/// How often its health has changed, if it has come and gone; `-o json` has why.
fn wavering(server: &ServerStatus, now: Time) -> Option<String> {
    let changes = server.history.iter().filter(|change| change.from != Health::Unknown);
    let first = changes.clone().next()?.at;
    let count = changes.count();
    (count > 1).then(|| format!("{count} changes of health in {}", age(first, now)))
}

fn footnote(report: &ServersReport) -> String {
    let servers = || report.servers.iter().map(|entry| &entry.status);
    let mut notes = String::new();
    if servers().any(|server| server.weight_override.is_some()) {
        notes += "* weight set by hand; 'xlvs weight SERVICE SERVER config' returns to the file's\n";
    }
    if servers().any(|server| server.admin != Admin::Enabled) {
        notes += "* state set by hand; 'xlvs enable SERVICE SERVER' undoes it\n";
    }
    if notes.is_empty() { notes } else { format!("\n{notes}") }
}
