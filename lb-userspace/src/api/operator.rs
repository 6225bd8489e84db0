//! `xlvs drain`, `enable`, `disable`, `weight`: what an operator's order came to.

use super::{Admin, OverrideAction, Schema, ServerState};
use serde::{Deserialize, Serialize};

/// What an override verb prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideReport {
    /// Always 1.
    pub schema: Schema,
    /// What was asked.
    pub action: OverrideAction,
    /// The servers it applied to: one, or one per service when the service was `-`.
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
