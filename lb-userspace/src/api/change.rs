//! `xlvs reload` and `xlvs check --diff`: what a configuration changes.

use super::{ChangeKind, Effect, Schema};
use crate::config;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// What `xlvs reload` prints once the file is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Always 1.
    pub schema: Schema,
    /// The file.
    pub path: PathBuf,
    /// The generation now in force; the same as before if nothing changed.
    pub generation: u64,
    /// What changed; empty: the file says what was in force already.
    pub changes: Vec<Change>,
    /// What is in force but should be looked at.
    pub warnings: Vec<String>,
}

/// What `xlvs check --diff` prints: what a reload of the file would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffReport {
    /// Always 1.
    pub schema: Schema,
    /// The file compared.
    pub path: PathBuf,
    /// The generation it was compared with.
    pub generation: u64,
    /// What a reload would change; empty: nothing.
    pub changes: Vec<Change>,
}

/// One difference between two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Added, removed or changed.
    pub change: ChangeKind,
    /// The object and key, as `service web`, `server web/rs1` or `server web/rs1 weight`.
    pub what: String,
    /// The old value; null for what was added.
    pub from: Option<String>,
    /// The new value; null for what was removed.
    pub to: Option<String>,
    /// When it comes into force.
    pub effect: Effect,
}

impl From<&config::Change> for Change {
    fn from(change: &config::Change) -> Self {
        use config::Change as C;
        let changed = |what: String, value: &config::Field, effect| Self {
            change: ChangeKind::Changed,
            what: format!("{what} {}", value.key),
            from: Some(value.from.clone()),
            to: Some(value.to.clone()),
            effect,
        };
        let added = |what, to| Self {
            change: ChangeKind::Added,
            what,
            from: None,
            to: Some(to),
            effect: Effect::Reload,
        };
        let removed = |what, from: &str| Self {
            change: ChangeKind::Removed,
            what,
            from: Some(from.to_owned()),
            to: None,
            effect: Effect::Reload,
        };
        match change {
            C::SettingChanged { table, value, effect } => {
                let effect = match effect {
                    config::Effect::Reload => Effect::Reload,
                    config::Effect::Restart => Effect::Restart,
                };
                changed(format!("[{table}]"), value, effect)
            }
            C::ServiceAdded { service, listener, servers } => {
                added(format!("service {service}"), format!("{listener}, servers: {servers}"))
            }
            C::ServiceRemoved { service, listener } => removed(format!("service {service}"), listener),
            C::ServiceChanged { service, value } => {
                changed(format!("service {service}"), value, Effect::Reload)
            }
            C::ServerAdded { service, server, address, weight } => {
                added(format!("server {service}/{server}"), format!("{address} weight {weight}"))
            }
            C::ServerRemoved { service, server, address } => {
                removed(format!("server {service}/{server}"), address)
            }
            C::ServerChanged { service, server, value } => {
                changed(format!("server {service}/{server}"), value, Effect::Reload)
            }
        }
    }
}

impl fmt::Display for Change {
    /// `+ server web/rs4 10.77.2.24`, `- server web/rs1`, `~ server web/rs2 weight 1 -> 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.change {
            ChangeKind::Added => "+",
            ChangeKind::Removed => "-",
            ChangeKind::Changed | ChangeKind::Other(_) => "~",
        };
        write!(f, "{sign} {}", self.what)?;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, " {from} -> {to}")?,
            (None, Some(value)) | (Some(value), None) => write!(f, " {value}")?,
            (None, None) => {}
        }
        match self.effect {
            Effect::Restart => f.write_str(" (takes effect when the agent is started anew)"),
            Effect::Reload | Effect::Other(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Change;
    use crate::config;

    /// The conversion must say to people what the configuration's own difference says.
    #[test]
    fn reads_like_the_configurations_own_difference() {
        let service = |name: &str, servers: &str| {
            format!(
                "[[service]]\nname = \"{name}\"\nvip = \"192.0.2.1\"\nport = 80\nprotocol = \"tcp\"\nmode = \"nat\"\n{servers}"
            )
        };
        let server = |name: &str, last: u8, weight: u8| {
            format!(
                "[[service.server]]\nname = \"{name}\"\naddress = \"198.51.100.{last}\"\nweight = {weight}\n"
            )
        };
        let model =
            |text: &str| config::load_str("test.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
        let before = model(&service("web", &(server("rs1", 1, 1) + &server("rs2", 2, 1))));
        let after = model(
            &("[agent]\nxdp_mode = \"native\"\n[datapath]\nmaglev_table_size = 1009\n".to_owned()
                + &service("web", &(server("rs1", 1, 3) + &server("rs3", 3, 1)))),
        );
        let renamed = model(&service("www", &server("rs1", 1, 1)));
        let differences = [config::diff(&before, &after), config::diff(&before, &renamed)].concat();
        assert!(differences.len() >= 7, "every kind should occur: {differences:?}");
        for difference in &differences {
            assert_eq!(Change::from(difference).to_string(), difference.to_string());
        }
    }
}
