//! Frames from a million invented clients, as fast as one core sends them or at a given rate.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::time::{ClockId, clock_gettime};

use crate::namespace::Namespace;
use crate::packet::{Extension, Frame, Ipv4, Ipv6, Mac, Network, Tcp};
use crate::packet_socket::PacketSocket;
use crate::random::Random;

/// What each invented client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrage {
    /// One SYN.
    Syns,
    /// One ACK of a connection that never was.
    Acks,
    /// A SYN and, right behind it, the ACK that would complete the handshake.
    Pairs,
    /// A SYN that says that more follows, and a later fragment of something else.
    Fragments,
}

/// What to send. The seed decides every address, port and sequence number.
#[derive(Clone, Debug)]
pub struct FloodPlan {
    pub barrage: Barrage,
    /// Invented clients, so frames, or pairs of them.
    pub clients: usize,
    /// The clients are of its family.
    pub target: SocketAddr,
    /// The next hop, the director's interface.
    pub destination: Mac,
    /// Frames a second; None sends as fast as it goes.
    pub rate: Option<f64>,
    pub seed: u64,
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct FloodReport {
    /// Frames the device took.
    pub sent: u64,
    /// Frames the device had no room for; each was tried again until it was taken.
    pub refused: u64,
    pub took: Duration,
    /// Processor time of the sending thread, with what the kernel did on its behalf on the way.
    pub processor: Duration,
    pub seed: u64,
}

impl FloodReport {
    /// Frames a second.
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Frames a second of processor time: what one core to itself would do.
    pub fn rate_per_core(&self) -> f64 {
        self.sent as f64 / self.processor.as_secs_f64().max(1e-9)
    }
}

/// Processor time of the calling thread so far.
fn processor_time() -> Result<Duration> {
    let now =
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("no clock of the thread's processor time")?;
    Ok(Duration::from(now))
}

impl fmt::Display for FloodReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, refused, took, seed, .. } = self;
        let (seconds, rate, core) = (took.as_secs_f64(), self.rate(), self.rate_per_core());
        write!(
            formatter,
            "{sent} frames in {seconds:.2} s, {rate:.0} a second, {core:.0} per core ({refused} refused; seed {seed})"
        )
    }
}

/// A flood in the background.
pub struct Flood {
    thread: JoinHandle<Result<FloodReport>>,
}

impl Flood {
    /// Starts to send out of `interface` of `namespace`: a client's `eth0`, or `dir0` of the switch, which is the last
    /// device before the director and saves a whole hop.
    pub fn start(namespace: &Namespace, interface: &str, plan: FloodPlan) -> Result<Self> {
        let (path, interface) = (namespace.path(), interface.to_owned());
        let thread = std::thread::Builder::new()
            .name("flood".to_owned())
            .spawn(move || {
                Namespace::join_path(&path)?;
                send(&PacketSocket::open(&interface)?, &plan)
                    .with_context(|| format!("flooding out of {interface}"))
            })
            .context("cannot start a thread")?;
        Ok(Self { thread })
    }

    /// Whether it has sent everything.
    pub fn finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    pub fn finish(self) -> Result<FloodReport> {
        self.thread.join().map_err(|_| anyhow!("the flood's thread panicked"))?
    }
}

/// Frames in one system call. A veth with XDP has room for 256; more at once would be dropped behind our back.
const BATCH: usize = 64;

fn send(socket: &PacketSocket, plan: &FloodPlan) -> Result<FloodReport> {
    let mut invention = Invention::new(plan);
    let mut report =
        FloodReport { sent: 0, refused: 0, took: Duration::ZERO, processor: Duration::ZERO, seed: plan.seed };
    let processor = processor_time()?;
    let started = Instant::now();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        invention.fill(&mut batch);
        if batch.is_empty() {
            report.took = started.elapsed();
            report.processor = processor_time()? - processor;
            return Ok(report);
        }
        if let Some(rate) = plan.rate {
            wait_until(started + Duration::from_secs_f64(report.sent as f64 / rate));
        }
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            match socket.send(rest) {
                Ok(taken) => {
                    report.sent += taken as u64;
                    rest = &rest[taken..];
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    report.refused += 1;
                    std::thread::yield_now();
                }
                Err(error) => return Err(error).context("cannot send"),
            }
        }
    }
}

/// Sleeps what can be slept and yields the rest: a sleep is 50 µs late at best.
fn wait_until(moment: Instant) {
    while let Some(left) = moment.checked_duration_since(Instant::now()) {
        if left > Duration::from_micros(200) {
            std::thread::sleep(left - Duration::from_micros(100));
        } else {
            std::thread::yield_now();
        }
    }
}

/// Invents clients and the frames they send.
struct Invention {
    random: Random,
    plan: FloodPlan,
    left: usize,
}

impl Invention {
    fn new(plan: &FloodPlan) -> Self {
        Self { random: Random::from_seed(plan.seed), plan: plan.clone(), left: plan.clients }
    }

    fn fill(&mut self, batch: &mut Vec<Vec<u8>>) {
        batch.clear();
        while self.left > 0 && batch.len() + 1 < BATCH {
            self.left -= 1;
            let source = SocketAddr::new(self.address(), 1024 + self.random.below(64_512) as u16);
            let [sequence, acknowledgement] = [self.random.next() as u32, self.random.next() as u32];
            let port = self.plan.target.port();
            let syn = Tcp::syn(source.port(), port, sequence);
            let ack = Tcp::ack(source.port(), port, sequence.wrapping_add(1), acknowledgement);
            match self.plan.barrage {
                Barrage::Syns => batch.push(self.frame(source.ip(), syn)),
                Barrage::Acks => batch.push(self.frame(source.ip(), ack)),
                Barrage::Pairs => {
                    batch.push(self.frame(source.ip(), syn));
                    batch.push(self.frame(source.ip(), ack));
                }
                Barrage::Fragments => {
                    let (first, other) = (self.random.next() as u32, self.random.next() as u32);
                    batch.push(self.fragment(source.ip(), syn, first, 0));
                    batch.push(self.fragment(source.ip(), ack, other, 3));
                }
            }
        }
    }

    fn address(&mut self) -> IpAddr {
        if self.plan.target.is_ipv4() { self.address_v4().into() } else { self.address_v6().into() }
    }

    /// Any unicast address outside 10/8, where the topology lives, and outside 0/8 and 127/8.
    fn address_v4(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from_bits(self.random.next() as u32);
            match address.octets()[0] {
                0 | 10 | 127 | 224.. => {}
                _ => return address,
            }
        }
    }

    /// Any of 2000::/3, where the Internet is; the topology is in fd77::/16.
    fn address_v6(&mut self) -> Ipv6Addr {
        let [high, low] = [self.random.next(), self.random.next()];
        Ipv6Addr::from_bits(u128::from(high >> 3 | 1 << 61) << 64 | u128::from(low))
    }

    /// As a first fragment, or as the last of another datagram.
    fn fragment(&self, source: IpAddr, segment: Tcp, id: u32, offset: u16) -> Vec<u8> {
        let more = offset == 0;
        let packet: Network = match (source, self.plan.target.ip()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                let packet = Ipv4::new(source, target, segment).fragment(offset, more);
                Ipv4 { identification: id as u16, ..packet }.into()
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                let header = Extension::Fragment { offset, more, identification: id };
                Ipv6::new(source, target, segment).extension(header).into()
            }
            _ => unreachable!("a client is of its target's family"),
        };
        Frame::new([2, 0x77, 0, 0, 0xff, 0xff], self.plan.destination, packet).bytes()
    }

    fn frame(&self, source: IpAddr, segment: Tcp) -> Vec<u8> {
        let packet: Network = match (source, self.plan.target.ip()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => Ipv4::new(source, target, segment).into(),
            (IpAddr::V6(source), IpAddr::V6(target)) => Ipv6::new(source, target, segment).into(),
            _ => unreachable!("a client is of its target's family"),
        };
        Frame::new([2, 0x77, 0, 0, 0xff, 0xff], self.plan.destination, packet).bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{decode, faults};
    use crate::topology::{VIP, VIP6};

    fn frames(barrage: Barrage, clients: usize, seed: u64) -> Vec<Vec<u8>> {
        frames_to(VIP.into(), barrage, clients, seed)
    }

    fn frames_to(vip: IpAddr, barrage: Barrage, clients: usize, seed: u64) -> Vec<Vec<u8>> {
        let target = SocketAddr::new(vip, 80);
        let plan = FloodPlan { barrage, clients, target, destination: [2; 6], rate: None, seed };
        let (mut invention, mut all, mut batch) = (Invention::new(&plan), Vec::new(), Vec::new());
        loop {
            invention.fill(&mut batch);
            if batch.is_empty() {
                return all;
            }
            assert!(batch.len() <= BATCH);
            all.append(&mut batch);
        }
    }

    fn value(frame: &[u8], name: &str) -> String {
        decode(frame).into_iter().find(|field| field.name == name).unwrap().value
    }

    #[test]
    fn every_frame_is_sound_and_every_client_another() {
        for (vip, source) in [(VIP.into(), "ipv4.source"), (VIP6.into(), "ipv6.source")] {
            let all = frames_to(vip, Barrage::Syns, 1000, 1);
            assert_eq!(all.len(), 1000);
            assert!(all.iter().all(|frame| faults(frame).is_empty()));
            let sources: std::collections::BTreeSet<String> =
                all.iter().map(|frame| value(frame, source) + &value(frame, "tcp.source_port")).collect();
            assert_eq!(sources.len(), 1000);
            assert!(all.iter().all(|frame| value(frame, "tcp.flags") == "SYN"));
        }
    }

    #[test]
    fn pairs_belong_together() {
        let all = frames(Barrage::Pairs, 500, 2);
        assert_eq!(all.len(), 1000);
        for pair in all.chunks(2) {
            for name in ["ipv4.source", "tcp.source_port"] {
                assert_eq!(value(&pair[0], name), value(&pair[1], name));
            }
            assert_eq!(
                (value(&pair[0], "tcp.flags"), value(&pair[1], "tcp.flags")),
                ("SYN".into(), "ACK".into())
            );
        }
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(frames(Barrage::Acks, 100, 3), frames(Barrage::Acks, 100, 3));
        assert_ne!(frames(Barrage::Acks, 100, 3), frames(Barrage::Acks, 100, 4));
    }
}
