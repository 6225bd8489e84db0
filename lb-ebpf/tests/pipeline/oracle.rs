//! The data path against twenty lines of plain Rust: a map from connections to servers.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use xlvs_tests::datapath::world::{Server, Service, Side, World, mac_of};
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::{Frame, Ipv4, Tcp, TcpFlags};

use super::seen::{field, run};

const VIPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 1, 100), Ipv4Addr::new(10, 77, 1, 101)];

/// Client, client port, VIP. (Every service is on port 80.)
type Connection = (u8, u16, usize);

#[derive(Clone, Debug)]
enum Event {
    Request {
        connection: Connection,
        flags: u8,
    },
    /// From the connection's server, if it has one.
    Reply {
        connection: Connection,
        flags: u8,
    },
    /// From any server, to any client: explained by an entry or not at all.
    Noise {
        server: u8,
        client: u8,
        port: u16,
    },
    Weights([u32; 6]),
    Pass,
}

fn event() -> impl Strategy<Value = Event> {
    let connection = || (0_u8..3, 5000_u16..5020, 0_usize..2);
    let flags = || prop_oneof![Just(0x02_u8), Just(0x10), Just(0x18), Just(0x11), Just(0x04), Just(0x12)];
    prop_oneof![
        8 => (connection(), flags()).prop_map(|(connection, flags)| Event::Request { connection, flags }),
        6 => (connection(), flags()).prop_map(|(connection, flags)| Event::Reply { connection, flags }),
        2 => (0_u8..3, 0_u8..3, 5000_u16..5020).prop_map(|(server, client, port)| Event::Noise { server, client, port }),
        1 => any::<[u8; 6]>().prop_map(|weights| Event::Weights(weights.map(|w| u32::from(w % 4) + 1))),
        1 => Just(Event::Pass),
    ]
}

/// Two services on the same three servers and port.
fn world(weights: [u32; 6]) -> World {
    let servers = |first: usize, names: [&'static str; 3]| {
        let at =
            move |i: usize| Server::at(names[i], server_address(i as u8), 8080).weight(weights[first + i]);
        (0..3).map(at)
    };
    World::of(Service::tcp("web", VIPS[0], 80), servers(0, ["a1", "a2", "a3"]))
        .and(Service::tcp("twin", VIPS[1], 80), servers(3, ["b1", "b2", "b3"]))
}

fn server_address(i: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 2, 21 + i)
}

fn client_address(i: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, 10 + i)
}

/// What must be true, and nothing about how.
#[derive(Default)]
struct Oracle(HashMap<Connection, Ipv4Addr>);

impl Oracle {
    /// A request went to this server: the one it always goes to.
    fn request(&mut self, connection: Connection, server: Ipv4Addr) -> bool {
        *self.0.entry(connection).or_insert(server) == server
    }

    /// Which VIPs a packet of this server to this client port may come from.
    fn sources(&self, server: Ipv4Addr, client: u8, port: u16) -> Vec<Ipv4Addr> {
        let vip = |i: &usize| self.0.get(&(client, port, *i)) == Some(&server);
        (0..VIPS.len()).filter(vip).map(|i| VIPS[i]).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn it_is_a_map_from_connections_to_servers(events in proptest::collection::vec(event(), 1..400)) {
        let mut native = Native::with(&world([1; 6])).unwrap();
        let mut oracle = Oracle::default();
        // Each round is shorter than the shortest life of an entry.
        let mut passed = 0;
        for event in events {
            let (server, client, port, flags) = match event {
                Event::Weights(weights) => {
                    native.install(&world(weights)).unwrap();
                    continue;
                }
                Event::Pass => {
                    if passed < 25 {
                        native.pass(1).unwrap();
                        passed += 1;
                    }
                    continue;
                }
                Event::Request { connection, flags } => {
                    let (client, port, vip) = connection;
                    let tcp = Tcp::new(port, 80, TcpFlags(flags));
                    let packet = Ipv4::new(client_address(client), VIPS[vip], tcp);
                    let frame = Frame::new(mac_of(client_address(client)), Side::Front.mac(), packet).bytes();
                    let (verdict, output) = run(&mut native, Side::Front, &frame);
                    prop_assert_eq!(verdict, "forwarded_nat");
                    let server: Ipv4Addr = field(&output, "ipv4.destination").parse().unwrap();
                    prop_assert!(oracle.request(connection, server), "{:?} was moved to {}", connection, server);
                    continue;
                }
                Event::Reply { connection, flags } => {
                    let Some(server) = oracle.0.get(&connection) else { continue };
                    (*server, connection.0, connection.1, flags)
                }
                Event::Noise { server, client, port } => (server_address(server), client, port, 0x02),
            };
            let packet = Ipv4::new(server, client_address(client), Tcp::new(8080, port, TcpFlags(flags)));
            let frame = Frame::new(mac_of(server), Side::Back.mac(), packet).bytes();
            let (verdict, output) = run(&mut native, Side::Back, &frame);
            let sources = oracle.sources(server, client, port);
            if sources.is_empty() {
                prop_assert_eq!(verdict, "passed_unexplained");
                prop_assert_eq!(output, frame);
            } else {
                prop_assert_eq!(verdict, "forwarded_nat_reply");
                let source: Ipv4Addr = field(&output, "ipv4.source").parse().unwrap();
                prop_assert!(sources.contains(&source), "{} answered for {:?}", source, sources);
            }
        }
        // Connections that are one tuple at their server are told apart only if there was another candidate.
        let tuples = native.stored().count();
        prop_assert_eq!(tuples, oracle.0.len());
    }
}
