//! Engines before the oracle: random traffic in a busy world, and answers to whatever came out.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};

use super::Oracle;
use super::reading::{self, Body, Reading, Segment, Word};
use crate::datapath::Engine;
use crate::datapath::script::{Act, busy_world_of_both_families, random_of_both_families, world_of_seed};
use crate::datapath::world::{Protocol, Side};
use crate::fixture::Observation;
use crate::packet::{Frame, Icmp, Ipv4, Ipv6, Mac, Network, Tcp, TcpFlags, Transport, Udp, difference};
use crate::random::{Random, fresh_seed};

/// How many sequences a test runs if nobody asks for more by this variable.
pub const SEQUENCES_VARIABLE: &str = "XLVS_SEQUENCES";
/// Frames that have left lately, and may be answered.
const REMEMBERED: usize = 12;
/// No answers go on for longer than the stamps of a connection can count.
const ACTS: usize = 600;

/// How often each verdict and each event was reached.
pub type Reached = BTreeMap<String, u64>;

/// How many sequences to run.
#[must_use]
pub fn sequences(usual: u64) -> u64 {
    std::env::var(SEQUENCES_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Where a run's seeds begin: at the same place each time, so that a change is judged by what it changes, and at a fresh one
/// where somebody explores, by asking for a number of sequences.
#[must_use]
pub fn first_seed() -> u64 {
    let explores = [SEQUENCES_VARIABLE, "XLVS_SEED"].iter().any(|name| std::env::var_os(name).is_some());
    if explores { fresh_seed() } else { 2026 }
}

/// One sequence of frames and changes through all engines, each of which must do the same as the others, and the oracle
/// must have nothing against it. The answer is how many connections are stored in the end: few, if the world was one
/// without a flow table.
///
/// # Errors
/// What was done wrong, and in which sequence.
pub fn run(seed: u64, engines: &mut [&mut dyn Engine], reached: &mut Reached) -> Result<usize> {
    let world = world_of_seed(seed);
    for engine in engines.iter_mut() {
        engine.reset()?;
        engine.install(&world)?;
    }
    let mut oracle = Oracle::new(world);
    let mut answers = Answers { random: Random::from_seed(!seed), left: VecDeque::new() };
    let mut script = random_of_both_families(seed, ACTS).into_iter();
    let mut number = 0;
    while let Some(act) = answers.next().or_else(|| script.next()) {
        number += 1;
        let place = || format!("sequence {seed}, act {number}");
        match act {
            Act::Pass(ticks) => {
                engines.iter_mut().try_for_each(|engine| engine.pass(ticks)).with_context(place)?;
                oracle.pass(ticks);
            }
            Act::Change(world) => {
                engines.iter_mut().try_for_each(|engine| engine.install(&world)).with_context(place)?;
                oracle.install(world);
            }
            Act::Frame(side, frame) => {
                let seen = agreed(side, &frame, engines).with_context(place)?;
                oracle
                    .judge(side, &frame, &seen)
                    .with_context(|| format!("{}: {}", place(), told(&frame)))?;
                // Those of services and servers have dots.
                let events = seen.counters.iter().filter(|(name, _)| !name.contains('.'));
                for (name, _) in seen.verdicts.iter().chain(events).filter(|(_, growth)| **growth != 0) {
                    *reached.entry(name.clone()).or_default() += 1;
                }
                answers.heard(side, &seen);
            }
        }
    }
    Ok(oracle.connections())
}

/// Everything that happens in such a sequence of so many acts, answers included, if nobody changes the world.
///
/// # Errors
/// The engine could not be run.
pub fn story(seed: u64, acts: usize, engine: &mut dyn Engine) -> Result<Vec<Act>> {
    engine.reset()?;
    engine.install(&busy_world_of_both_families())?;
    let mut answers = Answers { random: Random::from_seed(!seed), left: VecDeque::new() };
    let mut script = random_of_both_families(seed, acts).into_iter();
    let mut told = Vec::new();
    while let Some(act) = answers.next().or_else(|| script.next()) {
        match &act {
            Act::Pass(ticks) => engine.pass(*ticks)?,
            Act::Change(_) => continue,
            Act::Frame(side, frame) => answers.heard(*side, &engine.run(*side, frame)?),
        }
        told.push(act);
    }
    Ok(told)
}

/// What all engines do with a frame.
fn agreed(side: Side, frame: &[u8], engines: &mut [&mut dyn Engine]) -> Result<Observation> {
    let mut first: Option<Observation> = None;
    for engine in engines.iter_mut() {
        let seen = engine.run(side, frame)?;
        let Some(other) = &first else {
            first = Some(seen);
            continue;
        };
        let same = (seen.action, &seen.verdicts) == (other.action, &other.verdicts);
        ensure!(same, "engines differ: {:?} and {:?} of {}", moved(other), moved(&seen), told(frame));
        if seen.action > 1 {
            let differing = difference(&other.output, &seen.output);
            ensure!(
                differing.is_none(),
                "engines differ: {} of {}",
                differing.unwrap_or_default(),
                told(frame)
            );
        }
    }
    first.context("no engine")
}

fn moved(seen: &Observation) -> Vec<&String> {
    seen.verdicts.iter().filter(|(_, growth)| **growth != 0).map(|(name, _)| name).collect()
}

fn told(frame: &[u8]) -> String {
    let fields = crate::packet::decode(frame);
    fields.iter().map(|field| format!("{} {}", field.name, field.value)).collect::<Vec<_>>().join(", ")
}

/// Whoever receives a frame may answer it, so that connections are opened, used and closed and not only asked for.
struct Answers {
    random: Random,
    left: VecDeque<(Side, Vec<u8>)>,
}

impl Answers {
    /// What came out of the director.
    fn heard(&mut self, from: Side, seen: &Observation) {
        let side = match (seen.action, from) {
            (3, side) => side,
            (4, Side::Front) => Side::Back,
            (4, Side::Back) => Side::Front,
            _ => return,
        };
        self.left.push_back((side, seen.output.clone()));
        if self.left.len() > REMEMBERED {
            self.left.pop_front();
        }
    }

    fn next(&mut self) -> Option<Act> {
        if self.left.is_empty() || self.random.below(2) == 0 {
            return None;
        }
        let chosen = self.random.below(self.left.len() as u64) as usize;
        // Mostly said once, now and then again.
        let (side, frame) = match self.random.below(4) {
            0 => self.left.get(chosen).cloned()?,
            _ => self.left.remove(chosen)?,
        };
        let packet = reading::read(&frame).ok()?;
        let bytes = match &packet.body {
            Body::Segment(segment) if self.random.below(8) != 0 => {
                let transport = self.reply(segment);
                between(packet.destination, packet.source, transport)
            }
            Body::Segment(_) => self.complaint(&frame, &packet),
            // A tunnel's, about which routers have something to say.
            Body::Other if matches!(packet.next, 4 | 41) => self.complaint(&frame, &packet),
            _ => return None,
        }?;
        let macs: [Mac; 2] = [std::array::from_fn(|i| frame[i]), side.mac()];
        Some(Act::Frame(side, Frame::new(macs[0], macs[1], bytes).bytes()))
    }

    /// What one end of a connection says to the other's word.
    fn reply(&mut self, segment: &Segment) -> Transport {
        let (from, to) = (segment.destination, segment.source);
        let payload = vec![self.random.below(256) as u8; self.random.below(30) as usize];
        if segment.protocol == Protocol::Udp {
            let datagram = Udp::new(from, to, payload);
            return if self.random.below(4) == 0 { datagram.without_checksum() } else { datagram }.into();
        }
        let flags = match (segment.word, self.random.below(12)) {
            (_, 0) => TcpFlags::RST,
            (_, 1) => TcpFlags::FIN | TcpFlags::ACK,
            (Word::Syn, 2..=10) => TcpFlags::SYN | TcpFlags::ACK,
            (Word::Rst, 2..=6) => TcpFlags::SYN,
            (Word::Fin, 2..=6) => TcpFlags::FIN | TcpFlags::ACK,
            _ => TcpFlags::ACK | TcpFlags::PSH,
        };
        Tcp { sequence: self.random.next() as u32, payload, ..Tcp::new(from, to, flags) }.into()
    }

    /// An ICMP error about the frame, from whom it was sent to or from a router on the way.
    fn complaint(&mut self, frame: &[u8], packet: &Reading) -> Option<Network> {
        let least = packet.header + 8;
        let longest = packet.end - packet.ip;
        let length = (least + self.random.below(96) as usize).min(longest);
        let quoted = &frame[packet.ip..packet.ip + length];
        let v6 = packet.source.is_ipv6();
        let kind = if v6 { [1, 2, 3, 4] } else { [3, 3, 11, 12] }[self.random.below(4) as usize];
        let icmp =
            Icmp { version_6: v6, ..Icmp::new(kind, self.random.below(5) as u8, [0, 0, 5, 120], quoted) };
        let router: IpAddr = if v6 { "fd77:9::9".parse().ok()? } else { [10, 77, 9, 9].into() };
        let sender = if self.random.below(2) == 0 { router } else { packet.destination };
        between(sender, packet.source, icmp.into())
    }
}

fn between(from: IpAddr, to: IpAddr, transport: Transport) -> Option<Network> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Some(Ipv4::new(from, to, transport).into()),
        (IpAddr::V6(from), IpAddr::V6(to)) => Some(Ipv6::new(from, to, transport).into()),
        _ => None,
    }
}
