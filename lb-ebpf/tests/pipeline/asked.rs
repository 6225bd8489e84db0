//! What each way through the pipeline asks of the kernel: look-ups in arrays, and calls. A change that makes an established
//! connection's packet look something up once more is seen here, on the busiest machine.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use lb_common::entry::Then;

use xlvs_tests::datapath::cases::people::*;
use xlvs_tests::datapath::native::Question;
use xlvs_tests::datapath::world::{Limits, Server, Service, Side, World};
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::{Ipv4, Network, Tcp};

/// Set to write what is counted into the file.
const BLESS: &str = "XLVS_BLESS";
const POOL: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 200);

/// A packet on its way: in which world, after which others, from where.
struct Way {
    name: String,
    world: World,
    before: Vec<(Side, Vec<u8>)>,
    side: Side,
    frame: Vec<u8>,
}

/// A family's client, VIP and server.
#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    client: IpAddr,
    vip: IpAddr,
    server: IpAddr,
}

impl Family {
    fn both() -> [Self; 2] {
        [
            Self { name: "IPv4", client: CLIENT.into(), vip: VIP.into(), server: RS1.into() },
            Self { name: "IPv6", client: CLIENT6.into(), vip: VIP6.into(), server: RS1_6.into() },
        ]
    }

    fn inward(self, segment: Tcp) -> (Side, Vec<u8>) {
        (Side::Front, client_frame(ip(self.client, self.vip, 64, segment)))
    }

    fn outward(self, segment: Tcp) -> (Side, Vec<u8>) {
        (Side::Back, from_server(ip(self.server, self.client, 64, segment)))
    }

    fn service(self) -> Service {
        Service::tcp("web", self.vip, 80)
    }

    /// Of a service that has a connection already: a SYN, a later packet, and in NAT a reply; each like those before it.
    fn ways(self, name: &str, service: Service, server: Server, replies: bool) -> Vec<Way> {
        let world = World::of(service, [server]);
        let name = format!("{}, {name}", self.name);
        let mut before = vec![self.inward(Tcp::syn(PORT + 1, 80, 1000))];
        let mut ways = vec![way(&name, "new", &world, &before, self.inward(syn(80)))];
        before.push(self.inward(syn(80)));
        if replies {
            before.push(self.outward(syn_ack(8080)));
        }
        before.push(self.inward(data(80)));
        ways.push(way(&name, "established", &world, &before, self.inward(data(80))));
        if replies {
            before.push(self.outward(answer(8080)));
            ways.push(way(&name, "reply", &world, &before, self.outward(answer(8080))));
        }
        ways
    }

    fn all(self) -> Vec<Way> {
        let nat = || Server::at("rs1", self.server, 8080);
        let direct = || Server::at("rs1", self.server, 80).in_front();
        let limits = Limits { source_packets: 1000, ..Limits::default() };
        let source = if self.vip.is_ipv4() { IpAddr::V4(DIRECTOR) } else { IpAddr::V6(DIRECTOR6) };
        [
            self.ways("DR", self.service().direct(), direct(), false),
            self.ways("NAT", self.service(), nat(), true),
            self.ways("tunnel", self.service().tunnelled(source), direct(), false),
            self.ways(
                "DR with affinity",
                self.service().direct().affine("web", Then::Rehash),
                direct(),
                false,
            ),
            self.ways(
                "DR with an allow list",
                self.service().direct().allow(self.client, 8),
                direct(),
                false,
            ),
            self.ways(
                "DR, packets of a source limited",
                self.service().direct().limit(limits),
                direct(),
                false,
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn way(what: &str, when: &str, world: &World, before: &[(Side, Vec<u8>)], last: (Side, Vec<u8>)) -> Way {
    let (side, frame) = last;
    Way { name: format!("{what}, {when}"), world: world.clone(), before: before.to_vec(), side, frame }
}

/// What is of one family, because the other does the same.
fn others() -> Vec<Way> {
    let world = one_server();
    let full_nat = World::of(Service::tcp("web", VIP, 80).full_nat(), [Server::at("rs1", RS1, 8080)])
        .sending_from(&[POOL.into()], (50_000, 8));
    let front = |packet: Network| (Side::Front, client_frame(packet));
    let plain = |segment: Tcp| front(Ipv4::new(CLIENT, VIP, segment).into());
    let options = |segment: Tcp| front(Ipv4::new(CLIENT, VIP, segment).options(vec![1; 4]).into());
    let leased = Network::from(Ipv4::new(RS1, POOL, Tcp { destination_port: 50_000, ..syn_ack(8080) }));
    let first = vec![plain(Tcp::syn(PORT + 1, 80, 1000))];
    let open = [first.clone(), vec![plain(syn(80)), plain(data(80))]].concat();
    vec![
        way("IPv4, NAT", "established, with options", &world, &open, options(data(80))),
        way("IPv4, full NAT", "new", &full_nat, &first, plain(syn(80))),
        way("IPv4, full NAT", "established", &full_nat, &open, plain(data(80))),
        way("IPv4, full NAT", "reply", &full_nat, &open[1..], (Side::Back, from_server(leased))),
        way("IPv4", "not for a VIP", &world, &first, front(Ipv4::new(CLIENT, DIRECTOR, syn(80)).into())),
        way("IPv4", "a segment of no connection", &world, &first, plain(data(80))),
    ]
}

impl Way {
    /// The verdict, then what was asked: `calls` of the kernel, then arrays, by name where it was more than once with the times.
    fn asks(&self) -> String {
        let mut native = Native::with(&self.world).unwrap();
        for (side, frame) in &self.before {
            native.push(*side, frame);
            // By direct routing a connection is established by a packet in a later tick.
            native.pass(1).unwrap();
        }
        native.asked.take();
        let (verdict, ..) = native.push(self.side, &self.frame);
        let asked = native.asked.take();
        let (calls, arrays): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|(question, _)| question.is_a_call());
        format!("{}; calls {}; arrays {}", verdict.name(), list(&calls), list(&arrays))
    }
}

fn list(asked: &[(Question, u32)]) -> String {
    let sum: u32 = asked.iter().map(|(_, times)| times).sum();
    let names: Vec<String> = asked
        .iter()
        .map(
            |(question, times)| {
                if *times > 1 { format!("{question:?} × {times}") } else { format!("{question:?}") }
            },
        )
        .collect();
    if names.is_empty() { "0".to_owned() } else { format!("{sum} ({})", names.join(", ")) }
}

#[test]
fn no_way_asks_for_more_than_is_recorded() {
    let mut now = String::from(
        "# What a packet asks on each way through the data path: its verdict, calls (helpers, tail calls, maps that hash), look-ups in arrays.\n\
         # Written by XLVS_BLESS=1, compared by lb-ebpf/tests/pipeline/asked.rs.\n",
    );
    for way in Family::both().into_iter().flat_map(Family::all).chain(others()) {
        writeln!(now, "{:?} = {:?}", way.name, way.asks()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/ways.toml");
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = now.lines().find(|line| !recorded.lines().any(|known| known == *line));
    assert!(now == recorded, "{}: {differs:?} is not recorded; {BLESS}=1 writes it", path.display());
}
