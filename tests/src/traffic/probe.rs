//! Whether a path carries, asked every millisecond: numbered datagrams to an echo server, and which of them came back.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::family::Family;
use crate::namespace::Namespace;

const EVERY: Duration = Duration::from_millis(1);

/// A thread that asks; it ends when this is dropped.
pub struct Probe {
    sent: Arc<Mutex<Vec<Datagram>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug)]
struct Datagram {
    at: Instant,
    is_answered: bool,
}

/// A time in which what was sent did not come back. Both ends are datagrams that did: what a busy machine makes late is no
/// outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    pub lost: usize,
    /// When the last one before it was sent.
    pub from: Instant,
    /// When the first one after it was sent; none yet where nothing has come back.
    pub until: Option<Instant>,
}

impl Outage {
    /// How long; one that lasts counts up to `now`.
    pub fn length(&self, now: Instant) -> Duration {
        self.until.unwrap_or(now).saturating_duration_since(self.from)
    }
}

impl Probe {
    /// Asks the [`UdpEchoServer`](super::UdpEchoServer) at `target` from now on.
    pub fn start(namespace: &Namespace, target: SocketAddr) -> Result<Self> {
        let anywhere = SocketAddr::new(Family::of(target.ip()).unspecified(), 0);
        let socket = namespace.enter(|| {
            let socket = UdpSocket::bind(anywhere)?;
            socket.connect(target)?;
            socket.set_nonblocking(true)?;
            std::io::Result::Ok(socket)
        })?;
        let socket = socket.with_context(|| format!("cannot ask {target}"))?;
        let sent = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
            thread::Builder::new().name("probe".to_owned()).spawn(move || ask(&socket, &sent, &stop))
        };
        let thread = thread.map_err(|error| anyhow!("cannot start a thread: {error}"))?;
        Ok(Self { sent, stop, thread: Some(thread) })
    }

    /// The longest outage that ended after `since`, or lasts.
    pub fn worst(&self, since: Instant) -> Option<Outage> {
        longest(&lock(&self.sent), since, Instant::now())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn lock(sent: &Mutex<Vec<Datagram>>) -> MutexGuard<'_, Vec<Datagram>> {
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(socket: &UdpSocket, sent: &Mutex<Vec<Datagram>>, stop: &AtomicBool) {
    let mut answer = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        {
            let mut sent = lock(sent);
            let number = sent.len() as u64;
            sent.push(Datagram { at: Instant::now(), is_answered: false });
            // A refusal is of an earlier one, and this one stays without an answer.
            let _refused = socket.send(&number.to_be_bytes());
        }
        loop {
            match socket.recv(&mut answer) {
                Ok(length) => {
                    let number = number_in(&answer[..length]);
                    if let Some(number) = number
                        && let Some(datagram) = lock(sent).get_mut(number)
                    {
                        datagram.is_answered = true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // What the network says of an earlier one.
                Err(_) => {}
            }
        }
        thread::sleep(EVERY);
    }
}

/// An answer ends with what was asked.
fn number_in(answer: &[u8]) -> Option<usize> {
    answer.last_chunk().map(|bytes| u64::from_be_bytes(*bytes) as usize)
}

/// An answer may still be on its way for so long.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

fn longest(sent: &[Datagram], since: Instant, now: Instant) -> Option<Outage> {
    let mut outages = Vec::new();
    let mut last_good = sent.first()?.at;
    let mut lost = 0;
    for datagram in sent {
        if !datagram.is_answered {
            lost += usize::from(now.saturating_duration_since(datagram.at) > ON_ITS_WAY);
            continue;
        }
        if lost > 0 && datagram.at >= since {
            outages.push(Outage { lost, from: last_good, until: Some(datagram.at) });
        }
        (last_good, lost) = (datagram.at, 0);
    }
    if lost > 0 {
        outages.push(Outage { lost, from: last_good, until: None });
    }
    outages.into_iter().max_by_key(|outage| outage.length(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_between_two_that_came_back() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let datagrams = |answered: &[(u64, bool)]| -> Vec<Datagram> {
            answered.iter().map(|&(millis, is_answered)| Datagram { at: at(millis), is_answered }).collect()
        };
        let now = at(1000);
        // Late, but all of them.
        assert_eq!(longest(&datagrams(&[(0, true), (50, true)]), begun, now), None);
        let gap = datagrams(&[(0, true), (1, false), (2, false), (9, true), (10, false), (12, true)]);
        let outage = Outage { lost: 2, from: at(0), until: Some(at(9)) };
        assert_eq!(longest(&gap, begun, now), Some(outage));
        assert_eq!(outage.length(now), Duration::from_millis(9));
        assert_eq!(longest(&gap, at(10), now).map(|outage| outage.lost), Some(1), "of those since");
        let lasting = longest(&datagrams(&[(0, true), (1, false)]), begun, now);
        assert_eq!(lasting, Some(Outage { lost: 1, from: at(0), until: None }));
        assert_eq!(longest(&datagrams(&[(0, true), (999, false)]), begun, now), None, "on its way");
    }
}
