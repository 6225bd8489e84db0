//! The first line of `xlvs status`: is it well? In words, and loud where it must be.

use super::units::plural;
use crate::api::{ServerState, ServiceStatus, StatusReport, XdpMode};

/// One line. Capitals stand only where a person has to act.
pub(super) fn headline(status: &StatusReport) -> String {
    let alarms = alarms(status);
    let troubles = troubles(status);
    if !status.ready {
        let why = if status.not_ready.is_empty() {
            "the agent does not say why".to_owned()
        } else {
            status.not_ready.join("; ")
        };
        sentence("NOT READY", [vec![why], alarms].concat(), status)
    } else if !alarms.is_empty() {
        sentence("ATTENTION", alarms, status)
    } else if !troubles.is_empty() {
        sentence("degraded", troubles, status)
    } else {
        sentence("well", Vec::new(), status)
    }
}

fn sentence(word: &str, mut parts: Vec<String>, status: &StatusReport) -> String {
    parts.push(summary(status));
    format!("{word}: {}", parts.join("; "))
}

/// What costs traffic or most of the speed.
fn alarms(status: &StatusReport) -> Vec<String> {
    let mut alarms = Vec::new();
    for interface in &status.interfaces {
        let reason = interface.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        match &interface.mode {
            Some(XdpMode::Generic) => {
                alarms.push(format!(
                    "GENERIC MODE on {}, several times slower than native{reason}",
                    interface.name
                ));
            }
            None => alarms.push(format!("NOT ATTACHED to {}{reason}", interface.name)),
            Some(_) => {}
        }
    }
    for service in status.services.iter().filter(|service| service.servers_up() == 0) {
        alarms.push(format!("NO SERVER UP for service {}", service.name));
    }
    alarms
}

/// What is not as it should be, while traffic flows.
fn troubles(status: &StatusReport) -> Vec<String> {
    let mut troubles = Vec::new();
    for service in &status.services {
        for server in &service.servers {
            if matches!(server.state, ServerState::Down | ServerState::Unknown) {
                troubles.push(format!("{}/{} is {}", service.name, server.name, server.state));
            }
        }
    }
    if status.config.last_reload.as_ref().is_some_and(|reload| !reload.ok) {
        troubles.push("the last reload was refused".to_owned());
    }
    if !status.warnings.is_empty() {
        troubles.push(plural(status.warnings.len() as u64, "warning"));
    }
    troubles
}

fn summary(status: &StatusReport) -> String {
    let all = status.services.iter().map(|service| service.servers.len()).sum::<usize>();
    let up = status.services.iter().map(ServiceStatus::servers_up).sum::<usize>();
    let attached: Vec<_> = status
        .interfaces
        .iter()
        .filter_map(|interface| Some(format!("{} ({})", interface.name, interface.mode.as_ref()?)))
        .collect();
    let place = if attached.is_empty() { "no interface".to_owned() } else { attached.join(", ") };
    format!(
        "{} on {place}, {up} of {} up",
        plural(status.services.len() as u64, "service"),
        plural(all as u64, "server")
    )
}
