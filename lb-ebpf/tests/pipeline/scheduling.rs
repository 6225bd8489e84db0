//! Picks that are not the miss table's: told from those that are, and without a place not made at all.

use std::net::Ipv4Addr;

use lb_common::clock::Now;
use lb_common::entry::{Scheduler, Then};
use lb_common::slot::{Class, ServerId, Slot};
use xlvs_tests::datapath::cases::people::{VIP, client_frame};
use xlvs_tests::datapath::world::{Server, Service, Side, World};
use xlvs_tests::datapath::{Engine as _, FIRST_TICK, Native};
use xlvs_tests::packet::{Ipv4, Tcp, TcpFlags};

use super::seen::server;

fn world(service: Service) -> World {
    let names = ["rs1", "rs2", "rs3", "rs4"];
    World::of(service, (0..4).map(|i| Server::at(names[i], [10, 77, 2, 21 + i as u8], 8080)))
}

fn segment(client: u16, flags: TcpFlags) -> Vec<u8> {
    let [high, low] = client.to_be_bytes();
    client_frame(Ipv4::new(Ipv4Addr::new(10, 77, 3 + high, low), VIP, Tcp::new(20_000, 80, flags)))
}

fn web() -> Service {
    Service::tcp("web", VIP, 80)
}

/// Services that pick otherwise than their tables would.
fn all() -> [Service; 5] {
    [
        web().scheduled(Scheduler::Least),
        web().scheduled(Scheduler::Rotation),
        web().scheduled(Scheduler::Source),
        web().scheduled(Scheduler::Random),
        web().scheduled(Scheduler::Random).affine("web", Then::Rehash),
    ]
}

#[test]
fn a_pick_is_marked_as_diverged_exactly_if_the_miss_table_would_say_otherwise() {
    for service in all() {
        let mut native = Native::with(&world(service.clone())).unwrap();
        let (mut diverged, mut others) = (0, 0);
        for client in 0..500 {
            let picked = server(&mut native, &segment(client, TcpFlags::SYN));
            let slot = native.stored().next().unwrap();
            native.forget();
            // A packet amid a connection goes by the miss table.
            let derived = server(&mut native, &segment(client, TcpFlags::ACK));
            native.forget();
            assert_eq!(slot.diverged(), picked != derived, "client {client} of {:?}", service.scheduler);
            diverged += usize::from(slot.diverged());
            others += usize::from(!slot.diverged());
        }
        assert!(diverged > 100 && others > 50, "{:?}: {diverged} and {others}", service.scheduler);
    }
}

#[test]
fn without_a_place_the_miss_table_picks_for_the_syn_already() {
    for service in all() {
        let mut native = Native::with(&world(service.clone())).unwrap();
        // Everybody who is there stays there: established, diverged and heard of just now.
        let resident = ServerId::new(1).unwrap();
        for (number, word) in (1_u64..).zip(native.arrays.flows.words()) {
            let now = Now::at_tick(FIRST_TICK);
            let slot = Slot::fresh(resident, number & 0xf_ffff_ffff, false, true, now)
                .with_class(Class::Established, now);
            word.store(slot.word());
        }
        for client in 0..500 {
            let first = server(&mut native, &segment(client, TcpFlags::SYN));
            let next = server(&mut native, &segment(client, TcpFlags::ACK));
            assert_eq!(first, next, "client {client} of {:?}", service.scheduler);
        }
        // The same clients find places in an empty table, and then mostly go elsewhere.
        let mut roomy = Native::with(&world(service.clone())).unwrap();
        let moved = (0..500)
            .filter(|client| {
                let picked = server(&mut roomy, &segment(*client, TcpFlags::SYN));
                picked != server(&mut native, &segment(*client, TcpFlags::SYN))
            })
            .count();
        assert!(moved > 100, "{:?}: {moved}", service.scheduler);
    }
}

#[test]
fn a_rotation_gives_each_its_turn() {
    let world = world(web().scheduled(Scheduler::Rotation)).with(|world| world.named("rs2").weight = 2);
    let mut native = Native::with(&world).unwrap();
    let order: Vec<u8> =
        (0..15).map(|client| server(&mut native, &segment(client, TcpFlags::SYN)).octets()[3]).collect();
    assert_eq!(order[..5], order[5..10], "{order:?}");
    for (last, turns) in [(21, 1), (22, 2), (23, 1), (24, 1)] {
        assert_eq!(order[..5].iter().filter(|one| **one == last).count(), turns, "{order:?}");
    }
}

#[test]
fn who_is_full_is_passed_over_and_affinity_outlasts_it() {
    let service = web().affine("web", Then::Rehash);
    let mut native = Native::with(&world(service).with(|world| world.named("rs1").most = 1)).unwrap();
    let syn = |client: u8, port| {
        let client = Ipv4Addr::new(10, 77, 3, client);
        client_frame(Ipv4::new(client, VIP, Tcp::new(port, 80, TcpFlags::SYN)))
    };
    let full: Ipv4Addr = [10, 77, 2, 21].into();
    let whose = (0..100).find(|client| server(&mut native, &syn(*client, 1)) == full).unwrap();
    // Its next one overflows, as does any other client's.
    let elsewhere = server(&mut native, &syn(whose, 2));
    assert_ne!(elsewhere, full);
    for client in 100..200 {
        assert_ne!(server(&mut native, &syn(client, 1)), full);
    }
    // There is room again, as the agent will have told.
    native.arrays.loads.all()[1].publish(0, native.arrays.loads.all()[1].begun.load());
    assert_eq!(server(&mut native, &syn(whose, 3)), full, "it is still its server");
}

#[test]
fn strangers_do_not_share_a_seat() {
    let mut native = Native::with(&world(web().affine("web", Then::Rehash))).unwrap();
    let mut seen = std::collections::HashMap::new();
    for client in 0..20_000 {
        let (verdict, _, _) = native.push(Side::Front, &segment(client, TcpFlags::SYN));
        assert_eq!(verdict.name(), "forwarded_nat");
    }
    for word in native.arrays.seats.words() {
        if let Some(slot) = Slot::from_word(word.load()) {
            *seen.entry(slot.server()).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.values().sum::<i32>(), 20_000, "a seat each");
    native.pass(1).unwrap();
}
