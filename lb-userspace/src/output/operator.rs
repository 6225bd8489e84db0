//! `xlvs drain`, `enable`, `disable` and `weight` for people.

use super::Render;
use super::units::plural;
use crate::api::{OverriddenServer, OverrideAction, OverrideReport};

impl Render for OverrideReport {
    /// A line for each server.
    fn table(&self) -> String {
        self.servers.iter().map(|server| line(&self.action, server)).collect()
    }
}

fn line(action: &OverrideAction, server: &OverriddenServer) -> String {
    let already = if server.changed { "" } else { " already" };
    let what = match action {
        OverrideAction::Weight => weight(server),
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
