//! No sequence of packets from one side moves a live connection to another server.

use std::net::{IpAddr, Ipv4Addr};

use lb_common::entry::Scheduler;
use proptest::prelude::*;
use xlvs_tests::datapath::cases::people::*;
use xlvs_tests::datapath::maps::LIMITS;
use xlvs_tests::datapath::world::{Mode, Server, Service, Side, World};
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::{Icmp, Ipv4, Tcp, TcpFlags};

use super::seen::{field, run};

/// What somebody who knows the connection's addresses and ports may do, and what happens around it.
#[derive(Clone, Debug)]
enum Deed {
    Segment {
        flags: u8,
        sequence: u32,
        payload: u8,
    },
    /// An ICMP error about the connection, from nowhere in particular, with so much of the quote missing.
    Error {
        kind: u8,
        code: u8,
        cut: u8,
    },
    Pass(u32),
    /// New weights of all servers in the select table, and in the miss table if it follows.
    Weights {
        now: [u32; 4],
        miss_follows: bool,
    },
    /// The other servers fail, drain or go.
    Others {
        down: bool,
        drained: bool,
        freed: bool,
    },
}

fn deed() -> impl Strategy<Value = Deed> {
    let flags = prop_oneof![Just(0x02_u8), Just(0x04), Just(0x11), Just(0x10), Just(0x12), any::<u8>()];
    prop_oneof![
        6 => (flags, any::<u32>(), 0_u8..50)
            .prop_map(|(flags, sequence, payload)| Deed::Segment { flags, sequence, payload }),
        1 => (prop_oneof![Just(3_u8), Just(11), Just(12)], 0_u8..6, 0_u8..60)
            .prop_map(|(kind, code, cut)| Deed::Error { kind, code, cut }),
        2 => (1_u32..6).prop_map(Deed::Pass),
        1 => (any::<[bool; 4]>(), any::<bool>())
            .prop_map(|(on, miss_follows)| Deed::Weights { now: on.map(u32::from), miss_follows }),
        1 => any::<[bool; 3]>().prop_map(|[down, drained, freed]| Deed::Others { down, drained, freed }),
    ]
}

const SCHEDULERS: [Scheduler; 5] =
    [Scheduler::Maglev, Scheduler::Least, Scheduler::Rotation, Scheduler::Source, Scheduler::Random];

fn world(mode: Mode, scheduler: Scheduler) -> World {
    let service = Service { mode, scheduler, ..Service::tcp("web", VIP, 80) };
    let port = if mode == Mode::Nat { 8080 } else { 80 };
    let names = ["rs1", "rs2", "rs3", "rs4"];
    World::of(service, (0..4).map(|i| Server::at(names[i], [10, 77, 2, 21 + i as u8], port)))
}

struct Connection {
    native: Native,
    world: World,
    mode: Mode,
    /// MAC of the server, which is all that DR shows.
    server: String,
    address: Ipv4Addr,
}

impl Connection {
    /// Established, with both ends speaking.
    fn open(mode: Mode, scheduler: Scheduler) -> Self {
        let world = world(mode, scheduler);
        let mut native = Native::with(&world).unwrap();
        let (verdict, output) = run(&mut native, Side::Front, &from_client(VIP, syn(80)));
        assert!(verdict.starts_with("forwarded_"), "{verdict}");
        let server = field(&output, "ethernet.destination");
        let chosen = world
            .servers
            .iter()
            .map(|(_, server)| server)
            .find(|server| mac(server) == self::mac_text(&output));
        let IpAddr::V4(address) = chosen.expect("a server of the service").address else {
            panic!("this world is of IPv4")
        };
        let mut connection = Self { native, world, mode, server, address };
        connection.native.pass(1).unwrap();
        connection.speak();
        connection
    }

    /// Client and server say something; both are heard by the right one.
    fn speak(&mut self) {
        self.answer();
        let (verdict, output) = run(&mut self.native, Side::Front, &from_client(VIP, data(80)));
        assert!(verdict.starts_with("forwarded_"), "{verdict}");
        assert_eq!(field(&output, "ethernet.destination"), self.server, "the connection was moved");
        self.answer();
    }

    fn answer(&mut self) {
        if self.mode == Mode::Nat {
            let reply = from_server(Ipv4::new(self.address, CLIENT, answer(8080)));
            let (verdict, output) = run(&mut self.native, Side::Back, &reply);
            assert_eq!(verdict, "forwarded_nat_reply");
            assert_eq!(field(&output, "ipv4.source"), VIP.to_string());
        }
    }

    /// `by_client`: whose segments are forged.
    fn suffer(&mut self, deed: &Deed, by_client: bool) {
        match deed {
            Deed::Segment { flags, sequence, payload } => {
                let payload = vec![0; usize::from(*payload)];
                let segment = |from, to| Tcp {
                    sequence: *sequence,
                    payload: payload.clone(),
                    ..Tcp::new(from, to, TcpFlags(*flags))
                };
                if by_client {
                    let (verdict, output) =
                        run(&mut self.native, Side::Front, &from_client(VIP, segment(PORT, 80)));
                    assert!(verdict.starts_with("forwarded_"), "{verdict}");
                    assert_eq!(
                        field(&output, "ethernet.destination"),
                        self.server,
                        "the connection was moved"
                    );
                } else {
                    let port = if self.mode == Mode::Nat { 8080 } else { 80 };
                    run(
                        &mut self.native,
                        Side::Back,
                        &from_server(Ipv4::new(self.address, CLIENT, segment(port, PORT))),
                    );
                }
            }
            Deed::Error { kind, code, cut } => {
                let port = if self.mode == Mode::Nat { 8080 } else { 80 };
                let mut quote = if by_client {
                    Ipv4::new(VIP, CLIENT, answer(80)).bytes()
                } else {
                    Ipv4::new(CLIENT, self.address, data(port)).bytes()
                };
                quote.truncate(quote.len() - usize::from(*cut).min(quote.len()));
                let (from, to) = if by_client { (CLIENT, VIP) } else { (self.address, CLIENT) };
                let error = Ipv4::new(from, to, Icmp::new(*kind, *code, [0; 4], quote));
                let (side, frame) = if by_client {
                    (Side::Front, client_frame(error))
                } else {
                    (Side::Back, from_server(error))
                };
                run(&mut self.native, side, &frame);
            }
            Deed::Pass(ticks) => self.native.pass(*ticks).unwrap(),
            Deed::Weights { now, miss_follows } => {
                for ((_, server), weight) in self.world.servers.iter_mut().zip(now) {
                    let before = server.miss_weight.unwrap_or(server.weight);
                    server.weight = *weight;
                    server.miss_weight = Some(if *miss_follows { *weight } else { before });
                }
                self.native.install(&self.world).unwrap();
            }
            Deed::Others { down, drained, freed } => {
                for (_, server) in self.world.servers.iter_mut().filter(|(_, s)| s.address != self.address) {
                    (server.down, server.drained, server.freed) = (*down, *drained, *freed);
                }
                self.native.install(&self.world).unwrap();
            }
        }
    }
}

fn mac(server: &Server) -> String {
    let hop = server.next_hop.expect("a server with a next hop");
    hop.mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn mac_text(frame: &[u8]) -> String {
    field(frame, "ethernet.destination")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Rounds of forged segments, each shorter than the shortest time after which silence ends a connection; in between,
    /// the true ends speak.
    #[test]
    fn no_sequence_of_packets_from_one_side_moves_a_live_connection(
        rounds in proptest::collection::vec(proptest::collection::vec(deed(), 0..30), 1..6),
        by_client: bool,
        direct: bool,
        scheduler in proptest::sample::select(&SCHEDULERS[..]),
    ) {
        let mut connection = Connection::open(if direct { Mode::Dr } else { Mode::Nat }, scheduler);
        for round in rounds {
            let mut passed = 0;
            for deed in round {
                if let Deed::Pass(ticks) = deed {
                    if passed + ticks > u32::from(LIMITS.new) {
                        continue;
                    }
                    passed += ticks;
                }
                connection.suffer(&deed, by_client);
            }
            connection.speak();
        }
        prop_assert_eq!(connection.native.stored().count(), 1);
    }
}

/// The strongest single deeds, by name, so that a failure of the property has a short story.
#[test]
fn a_forged_reset_and_a_forged_syn_do_not_move_it() {
    for (mode, scheduler) in
        [Mode::Nat, Mode::Dr].into_iter().flat_map(|mode| SCHEDULERS.map(|one| (mode, one)))
    {
        let mut connection = Connection::open(mode, scheduler);
        for flags in [0x04, 0x02, 0x04, 0x14, 0x02, 0x11, 0x02] {
            connection.suffer(&Deed::Segment { flags, sequence: 1, payload: 0 }, true);
            connection.suffer(&Deed::Weights { now: [1, 1, 0, 0], miss_follows: true }, true);
            connection.suffer(&Deed::Weights { now: [0, 0, 1, 1], miss_follows: true }, true);
        }
        connection.speak();
    }
}
