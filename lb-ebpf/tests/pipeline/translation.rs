//! NAT there and back again is nothing but a longer way: every field of the client's and the server's packets is what
//! the other end would have seen without a director, by the independent decoder, which sums every checksum in full.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use xlvs_tests::datapath::Native;
use xlvs_tests::datapath::world::{Server, Service, Side, World, mac_of};
use xlvs_tests::packet::{Frame, Ipv4, Tcp, TcpFlags, Transport, Udp, faults};

use super::seen::{fields, run};

#[derive(Clone, Debug)]
struct Ends {
    client: Ipv4Addr,
    vip: Ipv4Addr,
    server: Ipv4Addr,
    client_port: u16,
    vip_port: u16,
    server_port: u16,
    udp: bool,
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    (1_u32..0xdfff_ffff).prop_map(Ipv4Addr::from)
}

fn ends() -> impl Strategy<Value = Ends> {
    (address(), address(), address(), any::<u16>(), 1_u16.., 1_u16.., any::<bool>())
        .prop_map(|(client, vip, server, client_port, vip_port, server_port, udp)| Ends {
            client,
            vip,
            server,
            client_port,
            vip_port,
            server_port,
            udp,
        })
        .prop_filter("three hosts, one of them a client", |ends| {
            let martian = lb_common::net::Addr::from(std::net::IpAddr::from(ends.client)).is_martian();
            !martian && ends.client != ends.vip && ends.vip != ends.server && ends.client != ends.server
        })
}

fn transport(ends: &Ends, from: u16, to: u16, payload: &[u8], flags: u8) -> Transport {
    if ends.udp {
        Udp::new(from, to, payload).into()
    } else {
        Tcp {
            sequence: 7,
            acknowledgement: 9,
            payload: payload.to_vec(),
            ..Tcp::new(from, to, TcpFlags(flags))
        }
        .into()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn there_and_back_is_the_identity(
        ends in ends(),
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        options in proptest::collection::vec(any::<u8>(), 0..40),
        ttl in 3_u8..,
        class: u8,
        flags: u8,
        without_checksum: bool,
    ) {
        let service = Service::tcp("any", ends.vip, ends.vip_port);
        let service = if ends.udp { service.udp() } else { service };
        let world = World::of(service, [Server::at("rs", ends.server, ends.server_port)]);
        let mut native = Native::with(&world).unwrap();
        let bare = |transport: Transport| match transport {
            Transport::Udp(udp) if without_checksum => udp.without_checksum().into(),
            other => other,
        };
        let packet = |from: Ipv4Addr, to: Ipv4Addr, transport: Transport, ttl: u8| {
            let packet = Ipv4 { traffic_class: class, ..Ipv4::new(from, to, bare(transport)) };
            packet.options(options.clone()).ttl(ttl)
        };
        // There. (The first packet opens the connection, whatever it is, unless it is a RST or SYN with ACK.)
        let to_vip = transport(&ends, ends.client_port, ends.vip_port, &payload, flags);
        let sent = packet(ends.client, ends.vip, to_vip, ttl);
        let frame = Frame::new(mac_of(ends.client), Side::Front.mac(), sent).bytes();
        let (verdict, output) = run(&mut native, Side::Front, &frame);
        prop_assert_eq!(verdict, "forwarded_nat");
        let to_server = transport(&ends, ends.client_port, ends.server_port, &payload, flags);
        let wanted = packet(ends.client, ends.server, to_server, ttl - 1);
        let wanted = Frame::new(Side::Back.mac(), mac_of(ends.server), wanted).bytes();
        prop_assert_eq!(fields(&output), fields(&wanted));
        prop_assert_eq!(faults(&output), Vec::<String>::new());
        // And back again.
        let from_server = transport(&ends, ends.server_port, ends.client_port, &payload, flags);
        let sent = packet(ends.server, ends.client, from_server, ttl);
        let frame = Frame::new(mac_of(ends.server), Side::Back.mac(), sent).bytes();
        let (verdict, output) = run(&mut native, Side::Back, &frame);
        prop_assert_eq!(verdict, "forwarded_nat_reply");
        let from_vip = transport(&ends, ends.vip_port, ends.client_port, &payload, flags);
        let wanted = packet(ends.vip, ends.client, from_vip, ttl - 1);
        let wanted = Frame::new(Side::Front.mac(), mac_of(ends.client), wanted).bytes();
        prop_assert_eq!(fields(&output), fields(&wanted));
        prop_assert_eq!(faults(&output), Vec::<String>::new());
    }
}
