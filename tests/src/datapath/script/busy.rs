//! The busy little world.

use std::sync::LazyLock;

use lb_common::entry::{Scheduler, Then};

use super::people::{
    Addresses, DIRECTOR, FULL, LEAST, LENT, MIXED, POOL, QUIC, QUIC_CONFIG, SOURCE, THIRD, TUNNEL, VIPS, v4,
    v6,
};
use crate::datapath::world::{Hop, Server, Service, Side, Tunnel, World, mac_of};

/// Services of every kind on four VIPs; servers are shared among them. One tunnel is of the other family.
#[must_use]
pub fn busy_world() -> World {
    world_of(v4, v6)
}

/// The busy world and its twin over IPv6, side by side; what is named `web` here is `web-6` there.
#[must_use]
pub fn busy_world_of_both_families() -> World {
    // Made once, for names of worlds live for ever.
    static TWIN: LazyLock<World> = LazyLock::new(|| {
        world_of(v6, v4).with(|world| {
            let services = world.services.iter_mut().map(|service| &mut service.name);
            let servers = world.servers.iter_mut().map(|(_, server)| &mut server.name);
            for name in services.chain(servers) {
                *name = format!("{name}-6").leak();
            }
        })
    });
    busy_world().beside(TWIN.clone())
}

/// The busy world of both families, in which full NAT has now more and now less to send from.
#[must_use]
pub fn world_of_seed(seed: u64) -> World {
    busy_world_of_both_families().with(|world| {
        if seed.is_multiple_of(2) {
            world.pool.addresses.retain(|address| [v4, v6].iter().any(|of| *address == of(2, POOL[0])));
        }
    })
}

fn world_of(address: Addresses, other: Addresses) -> World {
    let rs = |last: u8| address(2, 20 + last);
    let vip = |index: usize| address(1, VIPS[index]);
    World::of(
        Service::tcp("web", vip(0), 80),
        [
            Server::at("web1", rs(1), 8080).weight(3),
            Server::at("web2", rs(2), 8080),
            Server::at("web3", rs(3), 8080),
        ],
    )
    .and(
        Service::tcp("twin", vip(1), 80),
        [Server::at("twin1", rs(1), 8080), Server::at("twin2", rs(2), 8080).weight(2)],
    )
    .and(
        Service::tcp("dns", vip(0), 53).udp(),
        [Server::at("dns1", rs(1), 53), Server::at("dns2", rs(2), 5353)],
    )
    .and(
        Service::tcp("all", vip(2), 0).silent(),
        [Server::at("all4", rs(4), 0), Server::at("all5", rs(5), 0)],
    )
    .and(
        Service::tcp("direct", vip(0), 443).direct(),
        [Server::at("direct6", rs(6), 443).in_front(), Server::at("direct7", rs(7), 443)],
    )
    .and(
        Service::tcp("quic", vip(0), QUIC).quic(QUIC_CONFIG, 1),
        [Server::at("quic8", rs(8), 4433).called(&[8]), Server::at("quic9", rs(9), 4433).called(&[9])],
    )
    .and(
        Service::tcp("tunnel", vip(1), TUNNEL).tunnelled(address(2, DIRECTOR)),
        [Server::at("tunnel8", rs(8), TUNNEL), Server::at("tunnel9", rs(9), TUNNEL).in_front()],
    )
    .and(
        Service::tcp("gue", vip(1), MIXED).through(Tunnel {
            source: other(2, DIRECTOR),
            gue: Some(6080),
            mtu: 1500,
        }),
        [Server::at("gue8", other(2, 28), MIXED), Server::at("gue9", other(2, 29), MIXED).weight(2)],
    )
    .and(
        Service::tcp("least", vip(0), LEAST).scheduled(Scheduler::Least),
        [Server::at("least4", rs(4), 8081), Server::at("least5", rs(5), 8081).weight(2)],
    )
    .and(
        Service::tcp("source", vip(0), SOURCE)
            .direct()
            .scheduled(Scheduler::Source)
            .affine("source", Then::Rehash),
        [Server::at("source6", rs(6), SOURCE), Server::at("source7", rs(7), SOURCE)],
    )
    .and(
        Service::tcp("third", vip(3), THIRD),
        [Server::at("third1", rs(1), 8080), Server::at("third2", rs(2), 8080)],
    )
    .and(
        Service::tcp("full", vip(1), FULL).full_nat(),
        [Server::at("full1", rs(1), 8080), Server::at("full6", rs(6), 8080).weight(2)],
    )
    .and(
        Service::tcp("full-dns", vip(3), 53).udp().full_nat(),
        [Server::at("full-dns1", rs(1), 53), Server::at("full-dns7", rs(7), 5353)],
    )
    .and(
        Service::tcp("full-all", vip(3), 0).full_nat().silent(),
        [Server::at("full-all4", rs(4), 0), Server::at("full-all6", rs(6), 0)],
    )
    .sending_from(&POOL.map(|last| address(2, last)), LENT)
    .with(|world| {
        world.local(address(2, DIRECTOR));
        for client in [address(1, 1), address(1, 2)] {
            world.route(client, Hop { side: Side::Front, mac: mac_of(client) });
        }
        world.route(rs(2), Hop { side: Side::Back, mac: mac_of(rs(2)) });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::world::Mode;

    #[test]
    fn the_twins_of_a_busy_world_have_names_of_their_own() {
        let (one, both) = (busy_world(), busy_world_of_both_families());
        let mut names: Vec<&str> = both.servers.iter().map(|(_, server)| server.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), both.services.len()), (2 * one.servers.len(), 2 * one.services.len()));
        assert!(both.servers.iter().all(|(number, server)| {
            let service = &both.services[number.0];
            matches!(service.mode, Mode::Tunnel(_)) || service.vip.is_ipv4() == server.address.is_ipv4()
        }));
    }
}
