//! How often a client is told that its packets are too big.

use lb_common::entry::Pulse;
use lb_common::verdict::Verdict;
use xlvs_tests::datapath::cases::people::{CLIENT, DIRECTOR, PORT, RS1, VIP, client_frame};
use xlvs_tests::datapath::world::{Server, Service, Side, World};
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::{Ipv4, Tcp};

#[test]
fn answers_are_so_many_a_tick() {
    let service = Service::tcp("web", VIP, 80).tunnelled(DIRECTOR);
    let mut native = Native::with(&World::of(service, [Server::at("rs1", RS1, 80)])).unwrap();
    let segment = Tcp::ack(PORT, 80, 1, 1).payload(vec![0; 1450]);
    let frame = client_frame(Ipv4::new(CLIENT, VIP, segment));
    for _ in 0..2 {
        let count = |native: &mut Native, wanted| {
            (0..2 * Pulse::ANSWERS).filter(|_| native.push(Side::Front, &frame).0 == wanted).count() as u64
        };
        assert_eq!(count(&mut native, Verdict::RepliedTooBig), Pulse::ANSWERS);
        assert_eq!(count(&mut native, Verdict::DroppedTooBig), 2 * Pulse::ANSWERS);
        native.pass(1).unwrap();
    }
}
