//! Which connections the agent hears of at once: each once, when it settles, if other directors are told of it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use lb_common::entry::Scheduler;
use lb_common::flow_table::Place;
use lb_common::identity::FlowId;
use lb_common::slot::Slot;

use super::people::*;
use crate::datapath::Engine;
use crate::datapath::maps::Arrays;
use crate::datapath::world::{Server, Service, Side, Told, World};
use crate::packet::{Ipv4, Tcp, TcpFlags, Udp};

/// An engine that shows what it announces.
pub trait Announcer: Engine {
    fn arrays(&self) -> &Arrays;

    /// Since the last call.
    ///
    /// # Errors
    /// If it cannot be read.
    fn take_announced(&mut self) -> Result<Vec<FlowId>>;
}

/// A frame, and how many connections are announced by it.
type Beat = (Side, Vec<u8>, usize);

/// Every way to settle, and what must not be announced.
///
/// # Errors
/// What was announced that should not have been, and the other way round.
pub fn check(engine: &mut impl Announcer) -> Result<()> {
    for told in [Told::All, Told::Diverged, Told::None] {
        let whole = usize::from(told == Told::All);
        let nat = Service::tcp("web", VIP, 80).told(told);
        let dns = Service::tcp("dns", VIP, 53).udp().told(told);
        play(engine, "NAT", nat.clone(), 8080, &handshake(whole))?;
        play(engine, "direct routing", nat.direct(), 80, &one_sided(whole))?;
        play(engine, "UDP", dns, 5353, &question_and_answer(whole))?;
    }
    only_the_diverged(engine)
}

/// By the client's packet, once, and not again when it ends, speaks after all, and is looked at in later ticks.
fn handshake(whole: usize) -> Vec<Beat> {
    let client = |tcp: Tcp| from_client(VIP, tcp);
    let server = |tcp: Tcp| from_server(Ipv4::new(RS1, CLIENT, tcp));
    vec![
        (Side::Front, client(syn(80)), 0),
        (Side::Back, server(syn_ack(8080)), 0),
        (Side::Front, client(data(80)), whole),
        (Side::Front, client(data(80)), 0),
        (Side::Back, server(answer(8080)), 0),
        (Side::Front, client(flagged(PORT, 80, TcpFlags::RST)), 0),
        (Side::Front, client(data(80)), 0),
        // The same ends once more are another connection.
        (Side::Front, client(flagged(PORT, 80, TcpFlags::RST)), 0),
        (Side::Front, client(syn(80)), 0),
        (Side::Back, server(syn_ack(8080)), 0),
        (Side::Front, client(data(80)), whole),
    ]
}

/// Where the server's answers are not seen, by a packet in a later tick.
fn one_sided(whole: usize) -> Vec<Beat> {
    let client = |tcp: Tcp| (Side::Front, from_client(VIP, tcp));
    let [(_, syn), (side, data)] = [client(syn(80)), client(data(80))];
    vec![(side, syn, 0), (side, data.clone(), whole), (side, data.clone(), 0), (side, data, 0)]
}

/// By the server's answer.
fn question_and_answer(whole: usize) -> Vec<Beat> {
    let question = from_client(VIP, Udp::new(PORT, 53, *b"who is it?"));
    let answer = from_server(Ipv4::new(RS1, CLIENT, Udp::new(5353, PORT, *b"it is me")));
    vec![
        (Side::Front, question.clone(), 0),
        (Side::Back, answer.clone(), whole),
        (Side::Front, question, 0),
        (Side::Back, answer, 0),
    ]
}

/// One server, to which the miss table leads as well; a tick passes before each frame.
fn play(engine: &mut impl Announcer, what: &str, service: Service, port: u16, beats: &[Beat]) -> Result<()> {
    let told = service.told;
    engine.reset()?;
    engine.install(&World::of(service, [Server::at("rs1", RS1, port)]))?;
    for (number, (side, frame, expected)) in beats.iter().enumerate() {
        engine.pass(1)?;
        engine.run(*side, frame)?;
        let announced = engine.take_announced()?;
        let stored: Vec<FlowId> = stored(engine.arrays()).map(|(flow, _)| flow).collect();
        ensure!(announced.len() == *expected, "{what}, {told:?}: frame {number} announced {announced:?}");
        ensure!(announced.is_empty() || announced == stored, "{what}: {announced:?}, stored is {stored:?}");
    }
    Ok(())
}

/// Of a service whose connections take turns at two servers: those that the miss table would give to the other one.
fn only_the_diverged(engine: &mut impl Announcer) -> Result<()> {
    let service = Service::tcp("web", VIP, 80).scheduled(Scheduler::Rotation).told(Told::Diverged);
    engine.reset()?;
    engine.install(&World::of(service, [Server::at("rs1", RS1, 8080), Server::at("rs2", RS2, 8080)]))?;
    for port in PORT..PORT + 40 {
        engine.run(Side::Front, &from_client(VIP, Tcp::syn(port, 80, 1000)))?;
        for server in [RS1, RS2] {
            let flags = TcpFlags::SYN | TcpFlags::ACK;
            let answer = Tcp { sequence: 5000, acknowledgement: 1001, ..Tcp::new(8080, port, flags) };
            engine.run(Side::Back, &from_server(Ipv4::new(server, CLIENT, answer)))?;
        }
        engine.run(Side::Front, &from_client(VIP, Tcp::ack(port, 80, 1001, 5001)))?;
    }
    let (mut diverged, mut others) = (BTreeSet::new(), 0);
    for (flow, slot) in stored(engine.arrays()) {
        ensure!(slot.is_settled(), "{slot:?} has not settled");
        if slot.diverged() {
            diverged.insert(flow);
        } else {
            others += 1;
        }
    }
    ensure!(diverged.len() > 5 && others > 5, "{} diverged, {others} did not", diverged.len());
    let announced = engine.take_announced()?;
    ensure!(announced.len() == diverged.len(), "{} of {} were announced", announced.len(), diverged.len());
    ensure!(announced.into_iter().collect::<BTreeSet<_>>() == diverged, "others were announced");
    Ok(())
}

/// Every stored connection.
fn stored(arrays: &Arrays) -> impl Iterator<Item = (FlowId, Slot)> {
    let geometry = arrays.settings.all()[0].geometry();
    (0..).zip(arrays.flows.words()).filter_map(move |(number, word)| {
        let slot = Slot::from_word(word.load())?;
        Some((geometry.flow_of(slot, Place::of_number(number).bucket), slot))
    })
}
