//! Full NAT: what a port's rest is for.

use lb_common::slot::Limits;
use xlvs_tests::datapath::cases::full_nat::{FIRST, POOL, all_ports_lent};
use xlvs_tests::datapath::cases::people::*;
use xlvs_tests::datapath::maps::LIMITS;
use xlvs_tests::datapath::world::Side;
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::{Ipv4, Tcp, TcpFlags};

const LAST: u16 = FIRST + 7;
const NEWCOMER: u16 = PORT + 100;

/// What comes of it when both sides have closed a connection, so many ticks pass, and another client comes.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    /// Whether the newcomer gets a port: it can only be that of the closed connection.
    lent: bool,
    /// To which of the client's ports a segment goes that the server still sends on the closed connection.
    stale_to: Option<u16>,
}

fn after(closing: u8, ticks: u32) -> Outcome {
    let mut native = Native::new().unwrap();
    assert_eq!(all_ports_lent().run(&mut native).unwrap(), None);
    native.arrays.settings.all()[0].set_limits(Limits { closing, ..LIMITS });
    let fin = TcpFlags::FIN | TcpFlags::ACK;
    native.run(Side::Front, &from_client(VIP, flagged(PORT + 7, 80, fin))).unwrap();
    native.run(Side::Back, &from_server(Ipv4::new(RS1, POOL, flagged(8080, LAST, fin)))).unwrap();
    native.pass(ticks).unwrap();
    let newcomer = native.run(Side::Front, &from_client(VIP, Tcp::syn(NEWCOMER, 80, 1))).unwrap();
    let stale = Tcp { source_port: 8080, destination_port: LAST, ..answer(8080) };
    let stale = native.run(Side::Back, &from_server(Ipv4::new(RS1, POOL, stale))).unwrap();
    // Where an IPv4 packet without options and VLAN tags has its destination port.
    let to = u16::from_be_bytes([stale.output[36], stale.output[37]]);
    Outcome {
        lent: newcomer.verdicts["forwarded_fullnat"] == 1,
        stale_to: (stale.verdicts["forwarded_fullnat_reply"] == 1).then_some(to),
    }
}

#[test]
fn while_a_port_rests_what_the_server_still_says_reaches_nobody_else() {
    for ticks in [0, 1, u32::from(LIMITS.closing)] {
        let expected = Outcome { lent: false, stale_to: Some(PORT + 7) };
        assert_eq!(after(LIMITS.closing, ticks), expected, "{ticks}");
    }
}

/// The control: without a rest, another client is told what was not meant for it.
#[test]
fn without_a_rest_what_the_server_still_says_reaches_another_client() {
    assert_eq!(after(0, 1), Outcome { lent: true, stale_to: Some(NEWCOMER) });
}
