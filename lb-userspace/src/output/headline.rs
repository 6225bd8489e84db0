//! The first line of `xlvs status`: is it well? In words, and loud where it must be.

use super::units::plural;
use crate::api::{ServerState, ServerStatus, ServiceStatus, StatusReport, XdpMode};

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
    for service in &status.services {
        if !service.servers.iter().any(ServerStatus::is_up) {
            alarms.push(format!("NO SERVER UP for service {}", service.name));
        } else if let Some(family) = family_without_server(service) {
            alarms.push(format!("NO SERVER UP for service {} by {family}", service.name));
        }
    }
    alarms
}

/// The family of listeners for which no server is up, if there is one.
fn family_without_server(service: &ServiceStatus) -> Option<&'static str> {
    let served =
        |v6: bool| service.servers.iter().any(|server| server.is_up() && server.address.is_ipv6() == v6);
    let listens = |v6: bool| service.listeners.iter().any(|listener| listener.vip.is_ipv6() == v6);
    let lacks = |v6: bool| listens(v6) && !served(v6);
    lacks(false).then_some("IPv4").or(lacks(true).then_some("IPv6"))
}

/// What is not as it should be, while traffic flows.
fn troubles(status: &StatusReport) -> Vec<String> {
    let mut troubles = Vec::new();
    for service in &status.services {
        for server in &service.servers {
            if matches!(server.state, ServerState::Down | ServerState::Unknown) {
                let (name, state) = (name(server, service), &server.state);
                troubles.push(format!("{}/{name} is {state}", service.name));
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

/// With the address where the server has another.
fn name(server: &ServerStatus, service: &ServiceStatus) -> String {
    match service.servers.iter().filter(|other| other.name == server.name).count() {
        1 => server.name.clone(),
        _ => format!("{} ({})", server.name, server.address),
    }
}

fn summary(status: &StatusReport) -> String {
    let all = status.services.iter().map(ServiceStatus::servers_configured).sum::<usize>();
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
