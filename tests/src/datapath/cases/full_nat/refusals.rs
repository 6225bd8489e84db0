//! What full NAT does not forward, and who is told.

use super::super::Case;
use super::super::people::*;
use super::{FIRST, PORTS, People, SYN_ACK, between, flags};
use crate::datapath::world::{Limits, Server, Service};
use crate::fixture::Output::{Back, Dropped, Passed};
use crate::packet::{Frame, Mac, Tcp, TcpFlags, Transport, Udp};

pub(super) fn cases(people: &People) -> Vec<Case> {
    let &People { client, vip, rs1, pool, .. } = people;
    let web = || people.web();
    let stray = people.case("a segment of no connection is answered with RST: nobody can know of it", web());
    let stray = people.told(stray, &data(80), 5001);
    let stray = people.told(stray, &flags(SYN_ACK), 5020);
    let reset = people.case("a RST of no connection is dropped", web()).front(
        &people.at_vip(flags(TcpFlags::RST)),
        "dropped_no_port",
        Dropped,
    );
    let waiting = people
        .case("a director that does not serve answers no segment", web().with(|world| world.serving = false))
        .front(&people.at_vip(data(80)), "dropped_not_serving", Dropped);
    let nobody = people
        .case("what comes to a port that is not lent is the kernel's", web())
        .back(&people.at_pool(between(&syn_ack(80), 8080, FIRST)), "passed_local", Passed)
        .back(&people.at_pool(between(&syn_ack(80), 8080, FIRST - 1)), "passed_local", Passed)
        .back(&people.at_pool(between(&syn_ack(80), 8080, FIRST + PORTS)), "passed_local", Passed);
    let other = people.case("what another server or port says is not the connection's", web());
    let other = people
        .opens(other, PORT, FIRST)
        .back(&people.at_pool(between(&answer(8080), 8081, FIRST)), "passed_local", Passed)
        .back(
            &from_server(ip(people.rs2, pool, 64, between(&answer(8080), 8080, FIRST))),
            "passed_local",
            Passed,
        )
        .back(&people.at_pool(Udp::new(8080, FIRST, *b"udp")), "passed_local", Passed);
    let denied =
        people.world_of(Service::tcp("web", vip, 80).deny(client, 8), [Server::at("rs1", rs1, 8080)]);
    let denied = people
        .case("lists are asked first", denied)
        .front(&people.at_vip(syn(80)), "dropped_denied", Dropped)
        .front(&people.at_vip(data(80)), "dropped_denied", Dropped);
    let limits = Limits { source_packets: 2, ..Limits::default() };
    let limited = people.world_of(Service::tcp("web", vip, 80).limit(limits), [Server::at("rs1", rs1, 8080)]);
    let limited = people.goes(people.case("packets of a source are limited", limited), PORT, FIRST, &syn(80));
    let limited = people.goes(limited, PORT, FIRST, &data(80)).front(
        &people.at_vip(data(80)),
        "dropped_rate_source",
        Dropped,
    );
    let limits = Limits { connections: 1, ..Limits::default() };
    let few = people.world_of(Service::tcp("web", vip, 80).limit(limits), [Server::at("rs1", rs1, 8080)]);
    let few = people.goes(people.case("new connections are limited", few), PORT, FIRST, &syn(80));
    let few = few.front(&people.at_vip(between(&syn(80), PORT + 1, 80)), "dropped_rate_service", Dropped);
    let martian = people.case("nobody is a client that cannot be one", web()).front(
        &client_frame(ip(vip, vip, 64, syn(80))),
        "dropped_martian",
        Dropped,
    );
    let last = people.case("the last hop ends at the director; the client is told, the server is not", web());
    let last = people.told_expired(last, syn(80));
    let last = people.opens(last, PORT + 1, FIRST + 1);
    let last = people.told_expired(last, between(&data(80), PORT + 1, 80)).back(
        &from_server(ip(rs1, pool, 1, between(&answer(8080), 8080, FIRST + 1))),
        "dropped_ttl",
        Dropped,
    );
    let lost = people
        .case("without a way to the server, it is dropped by name", {
            web().with(|world| world.named("rs1").next_hop = None)
        })
        .front(&people.at_vip(syn(80)), "dropped_no_next_hop", Dropped);
    let without = people
        .case("without an address of the family, nothing can be sent", {
            web().with(|world| world.pool.addresses.clear())
        })
        .front(&people.at_vip(syn(80)), "dropped_no_port", Dropped);
    let alone = people.case("without a server, a SYN is answered with RST", {
        web().with(|world| world.named("rs1").weight = 0)
    });
    let reset_of_syn =
        Tcp { acknowledgement: 1001, window: 0, ..Tcp::new(80, PORT, TcpFlags::RST | TcpFlags::ACK) };
    let input = people.at_vip(syn(80));
    let macs: [Mac; 2] = [0, 6].map(|at| std::array::from_fn(|i| input[at + i]));
    let output = Frame::new(macs[0], macs[1], ip(vip, client, 64, reset_of_syn)).bytes();
    let alone = alone.front(&input, "replied_reset", Back(output));
    let datagram = || Transport::from(Udp::new(PORT, 53, *b"who are you?"));
    let unserved = people.dns().with(|world| world.named("rs1").weight = 0);
    let unserved = people.case("without a server, a datagram is answered: port unreachable", unserved);
    let unserved = unserved
        .front(
            &people.at_vip(datagram()),
            "replied_unreachable",
            Notice::PORT_UNREACHABLE.about(ip(client, vip, 64, datagram())),
        )
        .counting(&[("stored", 0), ("rs1.connections", 0)]);
    let silent = people
        .world_of(Service::tcp("dns", vip, 53).udp().silent(), [Server::at("rs1", rs1, 5353).weight(0)]);
    let silent = people.case("without a server, a datagram is dropped where the policy says so", silent);
    let silent = silent.front(&people.at_vip(datagram()), "dropped_no_server", Dropped);
    let elsewhere = people.case("where no service listens, it is the kernel's", web()).front(
        &people.at_vip(Tcp::syn(PORT, 81, 1)),
        "passed_no_service",
        Passed,
    );
    vec![
        stray, reset, waiting, nobody, other, denied, limited, few, martian, last, lost, without, alone,
        unserved, silent, elsewhere,
    ]
}
