//! Floods from made-up sources, with a flow table of the smallest size: no established connection breaks, and nearly
//! every handshake that is tried meanwhile opens.

use std::net::Ipv4Addr;

use lb_common::clock::Now;
use lb_common::slot::{Class, ServerId, Slot};
use xlvs_tests::datapath::cases::people::{VIP, client_frame, from_server};
use xlvs_tests::datapath::world::{Server, Service, Side, World};
use xlvs_tests::datapath::{Engine as _, FIRST_TICK, Native};
use xlvs_tests::packet::{Ipv4, Tcp, TcpFlags};
use xlvs_tests::random::Random;

use super::seen::{field, server};

const CONNECTIONS: u16 = 1000;
const FLOOD: u64 = 300_000;
/// A tick of about a second.
const PER_TICK: u64 = 100_000;
const HANDSHAKE_EVERY: u64 = 300;

fn world() -> World {
    let names = ["rs1", "rs2", "rs3", "rs4"];
    World::of(
        Service::tcp("web", VIP, 80),
        (0..4).map(|i| Server::at(names[i], [10, 77, 2, 21 + i as u8], 8080)),
    )
}

/// After this, the tables give most connections to another server: who is forgotten is broken.
fn other_tables() -> World {
    world().with(|world| {
        for (i, (_, server)) in world.servers.iter_mut().enumerate() {
            server.weight = 1 + 50 * (i as u32 % 2);
        }
    })
}

fn client(number: u16) -> (Ipv4Addr, u16) {
    (Ipv4Addr::new(10, 77, 3, 1 + (number % 200) as u8), 20_000 + number)
}

fn segment(number: u16, flags: TcpFlags) -> Vec<u8> {
    let (address, port) = client(number);
    client_frame(Ipv4::new(address, VIP, Tcp::new(port, 80, flags)))
}

fn answer(native: &mut Native, from: Ipv4Addr, to: (Ipv4Addr, u16), flags: TcpFlags) {
    let reply = from_server(Ipv4::new(from, to.0, Tcp::new(8080, to.1, flags)));
    let (verdict, _, _) = native.push(Side::Back, &reply);
    assert_eq!(verdict.name(), "forwarded_nat_reply");
}

/// A handshake and first data; the server that was chosen.
fn open(native: &mut Native, number: u16) -> Ipv4Addr {
    let chosen = server(native, &segment(number, TcpFlags::SYN));
    answer(native, chosen, client(number), TcpFlags::SYN | TcpFlags::ACK);
    assert_eq!(server(native, &segment(number, TcpFlags::ACK)), chosen, "the handshake of {number}");
    chosen
}

/// Every free place is taken by an established connection of somebody else.
fn fill(native: &Native) {
    let (mut random, now) = (Random::from_seed(11), Now::at_tick(FIRST_TICK));
    for word in native.arrays.flows.words().iter().filter(|word| word.load() == 0) {
        let id = ServerId::new(1 + random.below(4) as u16).expect("1 to 4");
        let stranger = Slot::fresh(id, random.next() >> 28, false, false, now);
        word.store(stranger.with_class(Class::Established, now).word());
    }
}

/// Floods with what `wave` sends for a made-up client and the server the director chose for it. `full`: the table has no
/// free place at first.
fn survive(name: &str, full: bool, wave: impl Fn(&mut Native, (Ipv4Addr, u16))) {
    let mut native = Native::with(&world()).unwrap();
    let servers: Vec<Ipv4Addr> = (0..CONNECTIONS).map(|number| open(&mut native, number)).collect();
    if full {
        fill(&native);
    }
    native.install(&other_tables()).unwrap();
    let moved = (0..CONNECTIONS).zip(&servers).filter(|(number, before)| {
        let fresh = segment(*number, TcpFlags::SYN);
        let mut forgetful = Native::with(&other_tables()).unwrap();
        server(&mut forgetful, &fresh) != **before
    });
    assert!(moved.take(50).count() == 50, "the tables hardly moved: the test would prove nothing");

    let mut random = Random::from_seed(7);
    let mut tried = Vec::new();
    for packet in 0..FLOOD {
        let source =
            (Ipv4Addr::from(0x0b00_0000 + random.below(1 << 24) as u32), random.below(65_536) as u16);
        wave(&mut native, source);
        if packet % PER_TICK == PER_TICK - 1 {
            native.pass(1).unwrap();
        }
        if packet % HANDSHAKE_EVERY == 0 {
            let number = CONNECTIONS + (packet / HANDSHAKE_EVERY) as u16;
            tried.push((number, open(&mut native, number)));
        }
    }
    for (number, before) in (0..CONNECTIONS).zip(&servers) {
        let now = server(&mut native, &segment(number, TcpFlags::ACK));
        assert_eq!(now, *before, "{name}: connection {number} was moved");
        answer(&mut native, *before, client(number), TcpFlags::ACK);
    }
    let opened = tried
        .iter()
        .filter(|(number, before)| server(&mut native, &segment(*number, TcpFlags::ACK)) == *before);
    let opened = opened.count();
    println!("{name}: {CONNECTIONS} connections held, {opened} of {} handshakes opened", tried.len());
    assert!(opened * 100 >= tried.len() * 99, "{name}: {opened} of {} handshakes opened", tried.len());
}

fn forged(native: &mut Native, source: (Ipv4Addr, u16), flags: TcpFlags) -> Ipv4Addr {
    let (verdict, _, output) =
        native.push(Side::Front, &client_frame(Ipv4::new(source.0, VIP, Tcp::new(source.1, 80, flags))));
    assert_eq!(verdict.name(), "forwarded_nat");
    field_of_destination(&output)
}

/// Faster than decoding everything.
fn field_of_destination(frame: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(frame[30], frame[31], frame[32], frame[33])
}

#[test]
fn a_flood_of_syns() {
    survive("SYN", false, |native, source| {
        let chosen = forged(native, source, TcpFlags::SYN);
        answer(native, chosen, source, TcpFlags::SYN | TcpFlags::ACK);
    });
}

#[test]
fn a_flood_of_bare_acks() {
    survive("ACK", false, |native, source| {
        let chosen = forged(native, source, TcpFlags::ACK);
        answer(native, chosen, source, TcpFlags::RST);
    });
}

#[test]
fn a_flood_of_syn_and_ack_pairs() {
    survive("SYN and ACK", false, |native, source| {
        let chosen = forged(native, source, TcpFlags::SYN);
        answer(native, chosen, source, TcpFlags::SYN | TcpFlags::ACK);
        forged(native, source, TcpFlags::ACK);
        answer(native, chosen, source, TcpFlags::RST);
    });
}

/// Who came first is not to give way to a flood, unless the tables find him again.
#[test]
fn a_flood_of_syns_on_a_table_full_of_established_connections() {
    survive("SYN, full table", true, |native, source| {
        let chosen = forged(native, source, TcpFlags::SYN);
        answer(native, chosen, source, TcpFlags::SYN | TcpFlags::ACK);
    });
}

/// The negative control: without a flow table the same connections are moved.
#[test]
fn without_the_flow_table_they_are_moved() {
    let off = |world: World| world.with(|world| world.flows = false);
    let mut native = Native::with(&off(world())).unwrap();
    let servers: Vec<Ipv4Addr> =
        (0..CONNECTIONS).map(|number| server(&mut native, &segment(number, TcpFlags::SYN))).collect();
    native.install(&off(other_tables())).unwrap();
    let moved = (0..CONNECTIONS)
        .zip(&servers)
        .filter(|(number, before)| server(&mut native, &segment(*number, TcpFlags::ACK)) != **before)
        .count();
    assert!(moved > usize::from(CONNECTIONS) / 10, "only {moved} were moved");
    assert_eq!(field(&segment(0, TcpFlags::ACK), "ipv4.destination"), VIP.to_string());
}
