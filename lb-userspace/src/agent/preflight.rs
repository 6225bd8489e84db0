//! What is looked at before anything is attached: cheap questions whose answers spare a user an afternoon.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::large_frames;
use super::pool;
use crate::api::{Failure, FailureKind};
use crate::config::{Health, ListenPort, Model, Probe, Protocol, Service, VipOwner};
use crate::health;
use crate::net::{Addresses, Link};

/// Something that stands in the way, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub what: String,
    pub remedy: String,
}

impl Finding {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl From<Finding> for Failure {
    fn from(finding: Finding) -> Self {
        refused(finding.to_string())
    }
}

/// Where operators come in.
const SSH: u16 = 22;

/// Refuses what would cut the operator off: every port of an address by which the host itself is reached, or a range in
/// which ssh's is not noticed. Who names that port by itself means it.
///
/// # Errors
/// The first service that would.
pub fn lock_out(model: &Model, addresses: &Addresses, links: &[Link]) -> Result<(), Finding> {
    let interface_of = |ip: IpAddr| {
        let is_its =
            |link: &&Link| addresses.primary(link.index, ip.is_ipv6()).is_some_and(|its| its.ip == ip);
        links.iter().filter(|link| link.name != "lo").find(is_its)
    };
    for service in &model.services {
        for listener in service.listening.listeners() {
            let vip = listener.vip.ip();
            let (ports, remedy) = match listener.port {
                ListenPort::Any => ("every port".to_owned(), "or name its ports"),
                ListenPort::Range(_)
                    if listener.protocol == Protocol::Tcp && listener.port.each().contains(&SSH) =>
                {
                    (
                        format!("the ports {}", listener.port),
                        "or leave 22 out of the range, or name 22 by itself",
                    )
                }
                ListenPort::Range(_) | ListenPort::Fixed(_) => continue,
            };
            if let Some(link) = interface_of(vip) {
                let what = format!(
                    "service {}: {ports} of {vip} would be balanced, which is the host's own primary address on {}, so ssh \
                     and everything else there would be cut off",
                    service.name, link.name
                );
                return Err(Finding::new(what, format!("give the service an address of its own, {remedy}")));
            }
        }
    }
    Ok(())
}

/// Refuses checks that lack what they need of this host: a program, or files with certificates. Otherwise their servers would
/// never be known to be up.
///
/// # Errors
/// The first service whose check cannot work.
pub fn means_of_checks(model: &Model) -> Result<(), Finding> {
    for service in &model.services {
        let Health::Checked(check) = &service.health else { continue };
        let lacks = match &check.probe {
            Probe::Exec(exec) => exec.command.first().and_then(|program| not_runnable(Path::new(program))),
            probe => probe.tls().and_then(|tls| health::unusable(tls).err()),
        };
        if let Some(what) = lacks {
            let what = format!("service {}: its health check cannot work: {what}", service.name);
            return Err(Finding::new(what, "mend that, or change [service.health]"));
        }
    }
    Ok(())
}

fn not_runnable(program: &Path) -> Option<String> {
    let told = |why: &str| Some(format!("{} {why}", program.display()));
    match std::fs::metadata(program) {
        Err(error) => told(&format!("cannot be found ({error})")),
        Ok(about) if !about.is_file() => told("is not a file"),
        Ok(about) if about.permissions().mode() & 0o111 == 0 => told("is not executable"),
        Ok(_) => None,
    }
}

/// VIPs that nobody has put on the host although somebody else was to.
#[must_use]
pub fn missing_vips(model: &Model, addresses: &Addresses, interfaces: &[Link]) -> Vec<Finding> {
    if model.agent.vip_owner != VipOwner::External {
        return Vec::new();
    }
    let device = interfaces.first().map_or("eth0", |link| link.name.as_str());
    let missing = vips(model).into_iter().filter(|vip| !addresses.contains(*vip));
    missing
        .map(|vip| {
            // Duplicate address detection would wait, and refuse a VIP that another director has.
            let (length, question, flag) =
                if vip.is_ipv4() { (32, "ARP", "") } else { (128, "neighbour solicitations", " nodad") };
            Finding::new(
                format!("the VIP {vip} is not on this host, so nobody here answers {question} for it"),
                format!("'ip address add {vip}/{length} dev {device}{flag}', or vip_owner = \"xlvs\""),
            )
        })
        .collect()
}

/// What will not work although nothing forbids it.
#[must_use]
pub fn warnings(model: &Model, addresses: &Addresses, interfaces: &[Link]) -> Vec<String> {
    let missing = missing_vips(model, addresses, interfaces).into_iter();
    let of_tunnels = foreign_sources(model, addresses);
    let of_pool = pool::findings(model, addresses, interfaces, &pool::OwnPorts::here());
    let of_frames = large_frames::findings(interfaces, large_frames::kernel());
    missing.chain(of_tunnels).chain(of_pool).chain(of_frames).map(|finding| finding.to_string()).collect()
}

/// Tunnel sources that are no addresses of this host: what routers say of the tunnel does not come here.
fn foreign_sources(model: &Model, addresses: &Addresses) -> Vec<Finding> {
    let foreign = |service: &Service| -> Vec<Finding> {
        let sources = service.tunnel.iter().flat_map(|tunnel| &tunnel.sources);
        let told = |source: &IpAddr| {
            Finding::new(
                format!("service {}: the tunnel's source {source} is not on this host", service.name),
                "write one of its addresses, or put this one on it",
            )
        };
        sources.filter(|source| !addresses.contains(**source)).map(told).collect()
    };
    model.services.iter().flat_map(foreign).collect()
}

/// The VIPs of a configuration, each once.
#[must_use]
pub fn vips(model: &Model) -> Vec<IpAddr> {
    let mut vips: Vec<IpAddr> =
        model.services.iter().flat_map(|service| &service.listening.vips).map(|vip| vip.ip()).collect();
    vips.sort_unstable();
    vips.dedup();
    vips
}

pub(super) fn refused(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Refused, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::net::LocalAddress;

    fn model(port: &str) -> Model {
        let text = format!(
            "[[service]]\nname = \"web\"\nvip = [\"192.0.2.1\", \"2001:db8::1\"]\nport = {port}\nhealth = {{ kind = \"none\" }}\n\
             [[service.server]]\nname = \"rs1\"\naddress = [\"198.51.100.1\", \"2001:db8:2::1\"]\n"
        );
        config::load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn eth0() -> Link {
        Link::ethernet(2, "eth0")
    }

    fn on_eth0(ip: &str, prefix_len: u8) -> Addresses {
        let ip = ip.parse().unwrap();
        let address = LocalAddress {
            ip,
            prefix_len,
            ifindex: 2,
            global: true,
            secondary: false,
            tentative: false,
            ours: false,
        };
        [address].into_iter().collect()
    }

    #[test]
    fn every_port_of_any_of_the_vips_may_lock_the_operator_out() {
        let refused = |port, ip, length| lock_out(&model(port), &on_eth0(ip, length), &[eth0()]).is_err();
        assert!(refused("\"any\"", "192.0.2.1", 24));
        assert!(refused("\"any\"", "2001:db8::1", 64));
        assert!(!refused("[80, \"8000-8099\"]", "2001:db8::1", 64));
        assert!(!refused("\"any\"", "2001:db8::2", 64));
    }

    #[test]
    fn a_range_with_the_port_of_ssh_in_it_locks_the_operator_out_but_not_that_port_by_itself() {
        let told = |port: &str| {
            let found = lock_out(&model(port), &on_eth0("192.0.2.1", 24), &[eth0()]);
            found.err().map(|finding| finding.to_string())
        };
        let refused = told("[\"8000-8099\", \"1-1024\"]").expect("22 is in the second range");
        assert!(refused.contains("ports 1-1024 of 192.0.2.1"), "{refused}");
        assert!(refused.contains("name 22 by itself"), "{refused}");
        assert_eq!(told("[\"1-21\", 22, \"23-1024\"]"), None, "who names it means it");
        assert_eq!(told("\"23-1024\""), None);
        let over_udp = model("\"1-1024\"\nprotocol = \"udp\"");
        assert_eq!(lock_out(&over_udp, &on_eth0("192.0.2.1", 24), &[eth0()]), Ok(()), "ssh has no UDP");
    }

    #[test]
    fn a_tunnel_from_an_address_of_nobody_here_is_told() {
        let text = |source: &str| {
            format!(
                "[[service]]\nname = \"web\"\nvip = \"192.0.2.1\"\nport = 80\nmode = \"tunnel\"\n\
                 tunnel = {{ source = \"{source}\" }}\n\
                 [[service.server]]\nname = \"rs1\"\naddress = \"2001:db8::9\"\n"
            )
        };
        let told = |source| {
            let model =
                config::load_str("t.toml", &text(source)).unwrap_or_else(|problems| panic!("{problems}"));
            foreign_sources(&model, &on_eth0("203.0.113.1", 24)).len()
        };
        assert_eq!((told("203.0.113.1"), told("203.0.113.2")), (0, 1));
    }

    #[test]
    fn each_vip_that_is_missing_is_told_with_its_own_command() {
        let missing = missing_vips(&model("80"), &on_eth0("203.0.113.1", 24), &[eth0()]);
        let told: Vec<String> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("'ip address add 192.0.2.1/32 dev eth0'") && told[0].contains("ARP"));
        assert!(
            told[1].contains("'ip address add 2001:db8::1/128 dev eth0 nodad'")
                && told[1].contains("neighbour solicitations")
        );
    }
}
