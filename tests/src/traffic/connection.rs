//! One client connection of a swarm: sends numbered bytes, checks every answer, and keeps its own record.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval_at};

use super::outcome::{ConnectionReport, Fate};
use super::swarm::Activity;
use super::wire::{Garbled, Kind, Reply, Request, numbered_payload};

/// What the swarm tells one of its connections.
pub(super) enum Order {
    /// Send one more record now, idle or not; its answer proves the connection.
    Prove,
    /// Close in good order.
    Close,
}

/// What is known of a connection, written by its task and read by the swarm.
pub(super) struct Record {
    pub(super) local_port: u16,
    pub(super) server: String,
    fate: Fate,
    echoes: u64,
    pub(super) pushes: u64,
    longest_gap: Duration,
    /// Since when an answer, or the server's next word, is overdue; of a word that is not yet due, in the future.
    awaiting_since: Option<Instant>,
    pub(super) proofs: u64,
    ticks: u64,
}

pub(super) type SharedRecord = Arc<Mutex<Record>>;

pub(super) fn lock(record: &SharedRecord) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Record {
    pub(super) fn new(local_port: u16, server: String) -> Self {
        Self {
            local_port,
            server,
            fate: Fate::Alive,
            echoes: 0,
            pushes: 0,
            longest_gap: Duration::ZERO,
            awaiting_since: None,
            proofs: 0,
            ticks: 0,
        }
    }

    /// What was awaited has come, and the next is due as it says.
    fn arrived(&mut self, next: Option<Instant>) {
        if let Some(since) = self.awaiting_since.take() {
            self.longest_gap = self.longest_gap.max(since.elapsed());
        }
        self.awaiting_since = next;
    }

    /// Gaps are measured from here on.
    pub(super) fn forget_gaps(&mut self) {
        self.longest_gap = Duration::ZERO;
    }

    /// Whether nothing that comes can change its fate.
    pub(super) fn decided(&self) -> bool {
        self.fate != Fate::Alive
    }

    /// The record as of `now`; an answer missing for `stall_after` makes it stalled, for as long as it is missing.
    pub(super) fn report(&self, now: Instant, stall_after: Duration) -> ConnectionReport {
        let waiting =
            self.awaiting_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let fate = match &self.fate {
            Fate::Alive if waiting >= stall_after => Fate::Stalled(waiting),
            fate => fate.clone(),
        };
        ConnectionReport {
            local_port: self.local_port,
            server: self.server.clone(),
            fate,
            echoes: self.echoes,
            pushes: self.pushes,
            ticks: self.ticks,
            longest_gap: self.longest_gap.max(waiting),
        }
    }
}

/// An open connection that has learnt its server's name.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) record: SharedRecord,
    /// Distinguishes its payloads from any other connection's.
    pub(super) nonce: u64,
    pub(super) payload: usize,
    /// Bytes already read past the first answer.
    pub(super) buffer: Vec<u8>,
    pub(super) activity: Activity,
}

/// A record sent and not yet answered.
struct Awaited {
    number: u64,
    proof: bool,
}

impl Connection {
    /// Works until the connection breaks or is told to close; does the first time after `phase` what it does.
    pub(super) async fn live(mut self, phase: Duration, mut orders: UnboundedReceiver<Order>) {
        let every = match self.activity {
            Activity::Echo { every } => Some(every),
            Activity::Idle | Activity::Hear { .. } => None,
        };
        let period = every.unwrap_or(Duration::from_secs(3600));
        let mut ticks = interval_at(tokio::time::Instant::now() + phase, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0;
        let mut awaited: Option<Awaited> = None;
        let mut proofs_wanted = 0_u64;
        let mut subscribing = matches!(self.activity, Activity::Hear { .. });
        let fate = loop {
            let step = tokio::select! {
                read = self.stream.read_buf(&mut self.buffer) => match read {
                    Ok(0) => Err(Fate::Closed),
                    Ok(_) => self.take_answers(&mut awaited),
                    Err(error) => Err(Fate::of_error(&error)),
                },
                _ = ticks.tick(), if subscribing || (every.is_some() && awaited.is_none()) => {
                    if std::mem::take(&mut subscribing) {
                        self.subscribe().await
                    } else {
                        number += 1;
                        self.ask(number, false, &mut awaited).await
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Prove) => { proofs_wanted += 1; Ok(()) }
                    Some(Order::Close) | None => return,
                },
            };
            if let Err(fate) = step {
                break fate;
            }
            if proofs_wanted > 0 && awaited.is_none() {
                proofs_wanted -= 1;
                number += 1;
                if let Err(fate) = self.ask(number, true, &mut awaited).await {
                    break fate;
                }
            }
        };
        let mut record = lock(&self.record);
        record.arrived(None);
        record.fate = fate;
    }

    /// When the server's next word is due.
    fn next_word(&self) -> Option<Instant> {
        match self.activity {
            Activity::Hear { every } => Some(Instant::now() + every),
            Activity::Idle | Activity::Echo { .. } => None,
        }
    }

    async fn subscribe(&mut self) -> Result<(), Fate> {
        let Activity::Hear { every } = self.activity else { return Ok(()) };
        let number = every.as_millis() as u64;
        let request = Request { kind: Kind::Subscribe, number, payload: Vec::new() };
        lock(&self.record).awaiting_since = self.next_word();
        self.stream.write_all(&request.encode()).await.map_err(|error| Fate::of_error(&error))
    }

    async fn ask(&mut self, number: u64, proof: bool, awaited: &mut Option<Awaited>) -> Result<(), Fate> {
        let payload = numbered_payload(self.nonce, number, self.payload);
        let request = Request { kind: Kind::Echo, number, payload };
        lock(&self.record).awaiting_since = Some(Instant::now());
        *awaited = Some(Awaited { number, proof });
        self.stream.write_all(&request.encode()).await.map_err(|error| Fate::of_error(&error))
    }

    fn take_answers(&mut self, awaited: &mut Option<Awaited>) -> Result<(), Fate> {
        while let Some(reply) = Reply::take(&mut self.buffer).map_err(|Garbled(what)| Fate::Garbled(what))? {
            let mut record = lock(&self.record);
            if reply.name != record.server {
                return Err(Fate::Misrouted { began: record.server.clone(), answered: reply.name });
            }
            let Request { kind, number, payload } = reply.request;
            match kind {
                Kind::Push => {
                    record.pushes += 1;
                    continue;
                }
                Kind::Subscribe => continue,
                Kind::Tick => {
                    record.ticks += 1;
                    if number != record.ticks {
                        return Err(Fate::Garbled(format!("word {number} as the {}th", record.ticks)));
                    }
                    record.arrived(self.next_word());
                    continue;
                }
                _ => {}
            }
            let Some(question) = awaited.take() else {
                return Err(Fate::Garbled(format!("an unasked answer {kind:?} {number}")));
            };
            let expected = numbered_payload(self.nonce, question.number, self.payload);
            if kind != Kind::Echo || number != question.number || payload != expected {
                return Err(Fate::Garbled(format!(
                    "record {} came back as {kind:?} {number}",
                    question.number
                )));
            }
            record.arrived(self.next_word());
            record.echoes += 1;
            record.proofs += u64::from(question.proof);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_answer_is_a_stall_only_from_the_limit_on() {
        let mut record = Record::new(1, "rs1".to_owned());
        let asked = Instant::now();
        record.awaiting_since = Some(asked);
        let limit = Duration::from_secs(1);
        assert_eq!(record.report(asked + Duration::from_millis(999), limit).fate, Fate::Alive);
        let late = record.report(asked + Duration::from_millis(1500), limit);
        assert_eq!(late.fate, Fate::Stalled(Duration::from_millis(1500)));
        assert_eq!(late.longest_gap, Duration::from_millis(1500));
    }

    /// The fate of a connection that began with rs1 and whose one question is answered as `answer` says.
    fn fate_after(answer: impl FnOnce(Request) -> Reply) -> Fate {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let record = Arc::new(Mutex::new(Record::new(1, "rs1".to_owned())));
            let record_too = Arc::clone(&record);
            let (buffer, activity) = (Vec::new(), Activity::Idle);
            let connection =
                Connection { stream, record: record_too, nonce: 5, payload: 32, buffer, activity };
            let (orders, receiver) = tokio::sync::mpsc::unbounded_channel();
            assert!(orders.send(Order::Prove).is_ok());
            let life = tokio::spawn(connection.live(Duration::ZERO, receiver));
            let asked = tokio::task::spawn_blocking(move || {
                let (mut bytes, mut piece) = (Vec::new(), [0; 256]);
                loop {
                    let length = peer.read(&mut piece).unwrap();
                    bytes.extend_from_slice(&piece[..length]);
                    if let Some(request) = Request::take(&mut bytes).unwrap() {
                        return (peer, request);
                    }
                }
            });
            let (mut peer, request) = asked.await.unwrap();
            peer.write_all(&answer(request).encode()).unwrap();
            while lock(&record).proofs == 0 && !life.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            lock(&record).fate.clone()
        })
    }

    #[test]
    fn an_answer_of_another_server_or_with_other_bytes_breaks_the_connection() {
        let right = |request| Reply { request, name: "rs1".to_owned() };
        assert_eq!(fate_after(right), Fate::Alive);
        let misrouted = fate_after(|request| Reply { request, name: "rs2".to_owned() });
        assert_eq!(misrouted, Fate::Misrouted { began: "rs1".to_owned(), answered: "rs2".to_owned() });
        let changed = fate_after(|mut request| {
            request.payload[31] ^= 1;
            right(request)
        });
        assert!(matches!(changed, Fate::Garbled(_)), "{changed}");
        let renumbered = fate_after(|request| right(Request { number: request.number + 1, ..request }));
        assert!(matches!(renumbered, Fate::Garbled(_)), "{renumbered}");
    }
}
