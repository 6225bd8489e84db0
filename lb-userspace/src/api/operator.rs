//! `xlvs drain`, `enable`, `disable`, `weight`: what an operator's order came to; `overrides`: all that are in force.

use super::{Admin, OverrideAction, Schema, ServerState, ServerStatus, StatusReport};
use serde::{Deserialize, Serialize};

/// What an override verb prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideReport {
    /// Always 1.
    pub schema: Schema,
    /// What was asked.
    pub action: OverrideAction,
    /// The servers it applied to: one, or one per service when the service was `-`; with `clear`, those that were not as in the
    /// file; with `list`, those that are not.
    pub servers: Vec<OverriddenServer>,
}

/// A server after the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverriddenServer {
    /// The service's name.
    pub service: String,
    /// The server's name.
    pub server: String,
    /// Whether the order changed anything; repeating one is no error.
    pub changed: bool,
    /// What an operator ordered, now.
    pub admin: Admin,
    /// What it is to the tables, now.
    pub state: ServerState,
    /// The weight in force, now.
    pub weight: u32,
    /// The weight in the file.
    pub weight_configured: u32,
    /// The weight set by hand; null: none.
    pub weight_override: Option<u32>,
    /// Connections it still holds.
    pub connections_remaining: u64,
}

impl OverrideReport {
    /// What operators have ordered that is still in force. A server with an address of each family is one.
    #[must_use]
    pub fn in_force(status: &StatusReport) -> Self {
        let mut servers: Vec<OverriddenServer> = Vec::new();
        for service in &status.services {
            for it in service.servers.iter().filter(|server| server.is_overridden()) {
                let known =
                    |known: &&mut OverriddenServer| known.service == service.name && known.server == it.name;
                if let Some(known) = servers.iter_mut().find(known) {
                    known.connections_remaining += it.connections_active;
                    continue;
                }
                servers.push(OverriddenServer {
                    service: service.name.clone(),
                    server: it.name.clone(),
                    changed: false,
                    admin: it.admin.clone(),
                    state: it.state.clone(),
                    weight: it.weight,
                    weight_configured: it.weight_configured,
                    weight_override: it.weight_override,
                    connections_remaining: it.connections_active,
                });
            }
        }
        Self { schema: Schema, action: OverrideAction::List, servers }
    }
}

impl ServerStatus {
    /// Whether an operator's order is in force for it.
    #[must_use]
    pub fn is_overridden(&self) -> bool {
        self.admin != Admin::Enabled || self.weight_override.is_some()
    }
}
