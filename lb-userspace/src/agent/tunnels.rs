//! The tunnels to servers: from which address, and how much fits in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::entry::{Encapsulation, TunnelWay};
use lb_common::net::Port;
use lb_common::slot::ServerId;

use super::desired::DesiredService;
use super::install::Installation;
use super::ledger::Numbered;
use crate::config::{self, Family};
use crate::net::View;

/// Who is reached through which tunnel; those leaving keep the one they had.
pub type Tunnels = BTreeMap<ServerId, (IpAddr, config::Tunnel)>;

impl Installation {
    /// Takes over which tunnels are wanted.
    pub(super) fn want_tunnels(&mut self, wanted: &[DesiredService], numbered: &[Numbered]) {
        for (service, numbers) in wanted.iter().zip(numbered) {
            let Some(tunnel) = &service.tunnel else { continue };
            for (server, id) in service.servers.iter().zip(&numbers.servers) {
                self.tunnels.insert(*id, (server.address.into(), tunnel.clone()));
            }
        }
        let ledger = &self.ledger;
        self.tunnels.retain(|id, _| ledger.pairs().any(|(known, _)| known == *id));
    }

    /// Writes the tunnels whose way is known. One that is not stays as it is, as a next hop does.
    pub fn write_tunnels(&self, view: &View) {
        for (id, (server, tunnel)) in &self.tunnels {
            let Some(entry) = self.maps.tunnels.get(id.index()) else { continue };
            let Some((source, way)) = set_up(*server, tunnel, view) else { continue };
            if entry.source.load() != source.into() {
                entry.source.store(source.into());
            }
            if entry.way.load() != way.to_word() {
                entry.way.store(way.to_word());
            }
        }
    }
}

/// The tunnel's source and what fits in, if the route to the server says enough.
fn set_up(server: IpAddr, tunnel: &config::Tunnel, view: &View) -> Option<(IpAddr, TunnelWay)> {
    let route = view.routes.get(&server)?;
    let source = tunnel.source(Family::of(server)).or(route.source)?;
    let of_link = view.links.get(&route.ifindex)?.mtu;
    let mtu = route.mtu.unwrap_or(of_link).min(of_link);
    let encapsulation = match tunnel.encapsulation {
        config::Encapsulation::Ipip => Encapsulation::Ip,
        config::Encapsulation::Gue(port) => Encapsulation::Gue(Port::from_host(port.get())),
    };
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    Some((source, TunnelWay::new(encapsulation, server.into(), mtu)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Link, Route};

    fn view(server: IpAddr, mtu: Option<u32>) -> View {
        let link = Link {
            index: 3,
            name: "eth1".into(),
            mac: Some([2; 6]),
            mtu: 1500,
            up: true,
            carrier: true,
            kind: None,
            master: None,
            port_of: None,
            lower: None,
            xdp: None,
            vlan: None,
            bond_mode: None,
        };
        let route = Route { ifindex: 3, via: server, source: "192.0.2.9".parse().ok(), mtu };
        View { links: [(3, link)].into(), routes: [(server, route)].into(), ..View::default() }
    }

    #[test]
    fn the_smaller_mtu_counts_and_the_configured_source() {
        let server = "192.0.2.21".parse().unwrap();
        let own = config::Tunnel { sources: vec!["198.51.100.1".parse().unwrap()], ..Default::default() };
        let from_anywhere = config::Tunnel::default();
        let room = |tunnel: &config::Tunnel, mtu| {
            let (source, way) = set_up(server, tunnel, &view(server, mtu)).unwrap();
            (source.to_string(), way.room)
        };
        assert_eq!(room(&from_anywhere, None), ("192.0.2.9".into(), 1480));
        assert_eq!(room(&own, Some(1400)), ("198.51.100.1".into(), 1380));
        assert_eq!(room(&own, Some(9000)), ("198.51.100.1".into(), 1480));
        assert_eq!(set_up(server, &own, &View::default()), None);
    }
}
