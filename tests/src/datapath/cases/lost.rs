//! A server that has failed, and its service's policy about the connections it had.

use std::net::IpAddr;

use super::Case;
use super::people::*;
use crate::datapath::world::{Lost as Policy, Number, Server, Service, World};
use crate::fixture::Output::{self, Back, Dropped, Through};
use crate::packet::{Frame, Ipv4, Tcp, TcpFlags};

pub(super) fn cases() -> Vec<Case> {
    let v4 = [CLIENT.into(), VIP.into(), RS1.into(), RS2.into()];
    let v6 = [CLIENT6.into(), VIP6.into(), RS1_6.into(), RS2_6.into()];
    let mut cases =
        [of("IPv4", v4, true), of("IPv4", v4, false), of("IPv6", v6, true), of("IPv6", v6, false)].concat();
    cases.push(
        Lost { people: v4, nat: true }
            .opened("IPv4 NAT: lost, a segment with IP options is dropped: they would have to be cut out")
            .front(
                &client_frame(Ipv4::new(CLIENT, VIP, data(80)).options([1, 1, 1, 0])),
                "dropped_no_server",
                Dropped,
            ),
    );
    cases
}

/// A service in one family and mode, of whose two servers the first has failed.
struct Lost {
    /// Client, VIP and both servers.
    people: [IpAddr; 4],
    nat: bool,
}

impl Lost {
    fn world(&self, policy: Policy) -> World {
        let [_, vip, rs1, rs2] = self.people;
        let service = Service::tcp("web", vip, 80).losing(policy);
        let service = if self.nat { service } else { service.direct() };
        let port = self.port();
        let world = World::of(service, [Server::at("rs1", rs1, port)]);
        world.with(|world| world.servers.push((Number(0), Server::at("rs2", rs2, port).weight(0))))
    }

    const fn port(&self) -> u16 {
        if self.nat { 8080 } else { 80 }
    }

    fn verdict(&self) -> &'static str {
        if self.nat { "forwarded_nat" } else { "forwarded_dr" }
    }

    /// A handshake with the first server, which is then drained; the second takes what is new.
    fn drained(&self, name: &str) -> Case {
        let (syn, through) = self.sent(self.people[2], &syn(80));
        let case = Case::new(name.to_owned().leak(), self.world(Policy::Kept));
        case.front(&syn, self.verdict(), through).change(|world| {
            let rs1 = world.named("rs1");
            (rs1.drained, rs1.weight) = (true, 0);
            world.named("rs2").weight = 1;
        })
    }

    /// What the client sends, and what a server of this service gets of it.
    fn sent(&self, server: IpAddr, tcp: &Tcp) -> (Vec<u8>, Output) {
        let [client, vip, ..] = self.people;
        let to = if self.nat { server } else { vip };
        let moved = Tcp { destination_port: if self.nat { 8080 } else { 80 }, ..tcp.clone() };
        (
            client_frame(ip(client, vip, 64, tcp.clone())),
            Through(at_server(server, ip(client, to, 63, moved))),
        )
    }

    /// A connection to the first server, which then fails; the second takes what is new.
    fn opened(&self, name: &str) -> Case {
        self.opened_in(name, self.world(Policy::Reset))
    }

    fn opened_in(&self, name: &str, world: World) -> Case {
        let (syn, through) = self.sent(self.people[2], &syn(80));
        let case = Case::new(name.to_owned().leak(), world).front(&syn, self.verdict(), through);
        case.change(|world| {
            let rs1 = world.named("rs1");
            (rs1.down, rs1.weight) = (true, 0);
            world.named("rs2").weight = 1;
        })
    }

    /// The RST that answers a segment with this header.
    fn told(&self, case: Case, segment: Tcp, sequence: u32, acknowledgement: u32, flags: TcpFlags) -> Case {
        let [client, vip, ..] = self.people;
        let reset = Tcp { sequence, acknowledgement, window: 0, ..Tcp::new(80, segment.source_port, flags) };
        let input = client_frame(ip(client, vip, 64, segment));
        let macs: [[u8; 6]; 2] = [0, 6].map(|at| std::array::from_fn(|i| input[at + i]));
        let output = Frame::new(macs[0], macs[1], ip(vip, client, 64, reset)).bytes();
        case.front(&input, "replied_reset", Back(output)).counting(&[
            ("stored", 0),
            ("reselected", 0),
            ("rs1.packets_in", 0),
            ("rs2.packets_in", 0),
            ("rs2.connections", 0),
        ])
    }
}

fn of(family: &str, people: [IpAddr; 4], nat: bool) -> Vec<Case> {
    let lost = Lost { people, nat };
    let name = |what: &str| format!("{family} {}: lost, {what}", if nat { "NAT" } else { "DR" });
    let [_, _, rs1, rs2] = people;
    let sends = |case: Case, server, tcp: &Tcp| {
        let (input, output) = lost.sent(server, tcp);
        case.front(&input, lost.verdict(), output)
    };
    let let_go = |name: &str| lost.opened_in(name, lost.world(Policy::Rehashed));
    let fin = flagged(PORT, 80, TcpFlags::FIN | TcpFlags::ACK);
    let silent_data = Tcp { flags: TcpFlags::PSH, ..data(80) };
    let speech = |name| lost.told(lost.opened(name), data(80), 5001, 0, TcpFlags::RST);
    vec![
        speech(&name("a segment with ACK gets a RST with the number it acknowledges")),
        lost.told(lost.opened(&name("so does a FIN")), fin.clone(), 5020, 0, TcpFlags::RST),
        lost.told(
            lost.opened(&name("a segment without ACK has what it said acknowledged")),
            silent_data,
            0,
            1001 + 18,
            TcpFlags::RST | TcpFlags::ACK,
        ),
        lost.told(speech(&name("whoever speaks on is told again")), data(80), 5001, 0, TcpFlags::RST),
        sends(
            lost.opened(&name("a RST is never answered, and still goes to the server")),
            rs1,
            &flagged(PORT, 80, TcpFlags::RST),
        ),
        sends(speech(&name("a SYN from the same port begins anew elsewhere")), rs2, &syn(80))
            .counting(&[("rs2.connections", 1)]),
        sends(lost.opened(&name("so does one from who was not told")), rs2, &syn(80)),
        sends(
            lost.opened(&name("a server that is back in time keeps who was not told")).change(|world| {
                let rs1 = world.named("rs1");
                (rs1.down, rs1.weight) = (false, 1);
            }),
            rs1,
            &data(80),
        )
        .counting(&[("stored", 0), ("reselected", 0)]),
        sends(
            lost.opened_in(&name("by default the connection stays where it was"), lost.world(Policy::Kept)),
            rs1,
            &data(80),
        )
        .counting(&[("stored", 0), ("reselected", 0)]),
        sends(
            sends(
                let_go(&name("where it is let go, it goes to another server, which ends it")),
                rs2,
                &data(80),
            )
            .counting(&[("stored", 0), ("reselected", 1)]),
            rs2,
            &fin,
        )
        .counting(&[("reselected", 0)]),
        sends(
            lost.drained(&name(
                "a drained server keeps a handshake only if its answers would have been seen",
            )),
            if nat { rs1 } else { rs2 },
            &syn(80),
        ),
        sends(let_go(&name("a RST goes nowhere else, even so")), rs1, &flagged(PORT, 80, TcpFlags::RST)),
        sends(
            let_go(&name("a server that is back does not get back who has gone"))
                .front(&lost.sent(rs2, &data(80)).0, lost.verdict(), lost.sent(rs2, &data(80)).1)
                .change(|world| {
                    let rs1 = world.named("rs1");
                    (rs1.down, rs1.weight) = (false, 1);
                }),
            rs2,
            &data(80),
        )
        .counting(&[("stored", 0), ("reselected", 0)]),
        sends(
            Case::new(name("what had no entry goes by the tables").leak(), lost.world(Policy::Reset)).change(
                |world| {
                    let rs1 = world.named("rs1");
                    (rs1.down, rs1.weight, rs1.miss_weight) = (true, 0, Some(0));
                    world.named("rs2").weight = 1;
                },
            ),
            rs2,
            &data(80),
        ),
    ]
}
