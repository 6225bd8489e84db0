//! Runs all checks: one actor owns them, the agent tells it the whole set that is wanted, and it tells the agent what
//! changed.
//!
//! Applying a new set disturbs nobody whose check stays the same: counters, verdict and rhythm go on. A check is never
//! run twice at the same time, and no more than [`Limits::concurrent`] run at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::agenda::{Agenda, first_offset, jittered};
use super::entry::{Entry, News, Standing, Wanted};
use super::probe::{Outcome, probe};
use super::state::Health;

/// News of one server: a changed state, its first answer since it was added, a new reason while down, or the first
/// answer in a state that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<K> {
    pub key: K,
    pub before: Health,
    /// The state from now on; equal to `before` when only `first` or the reason is news.
    pub health: Health,
    /// The first answer (or its timeout, or [`Health::Off`]) since this server's check was added: once every server
    /// that is not paused has had one, the set is ready.
    pub first: bool,
    /// In a few words, why it is in this state.
    pub reason: String,
    pub at: SystemTime,
}

/// Bounds of the whole scheduler.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Probes under way at once, each holding one descriptor. Those beyond wait their turn, in order.
    pub concurrent: NonZeroUsize,
}

impl Default for Limits {
    /// 512: half of the customary limit of 1,024 descriptors.
    fn default() -> Self {
        Self { concurrent: const { NonZeroUsize::new(512).unwrap() } }
    }
}

/// The handle of the running actor, which ends when the handle is dropped. Calls never block: both channels are
/// unbounded, and what flows in them is bounded by changes, not by probes.
#[derive(Debug)]
pub struct Scheduler<K> {
    commands: mpsc::UnboundedSender<Command<K>>,
}

enum Command<K> {
    Apply(HashMap<K, Wanted>),
    Standings(oneshot::Sender<HashMap<K, Standing>>),
}

impl<K: Clone + Eq + Hash + Send + 'static> Scheduler<K> {
    /// Starts the actor on the current tokio runtime. With a current-thread runtime, probes leave from the network
    /// namespace of that thread.
    pub fn start(limits: Limits) -> (Self, mpsc::UnboundedReceiver<Event<K>>) {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (events, outbox) = mpsc::unbounded_channel();
        let actor = Actor {
            limits,
            events,
            entries: HashMap::new(),
            agenda: Agenda::new(),
            running: JoinSet::new(),
            owners: HashMap::new(),
            last_ticket: 0,
        };
        tokio::spawn(actor.run(inbox));
        (Self { commands }, outbox)
    }

    /// Makes `wanted` the whole set of checks: what is missing in it is removed, what is new starts at once (thousands
    /// are spread over up to half an interval), what is unchanged goes on undisturbed. When a check asks something
    /// else of the same address, the verdict stands and a new row begins; at another address nothing is known any more.
    pub fn apply(&self, wanted: HashMap<K, Wanted>) {
        // Fails only while the runtime shuts down, when nobody wants checks any more.
        let _ = self.commands.send(Command::Apply(wanted));
    }

    /// What is known of every server now; empty when the runtime is shutting down.
    pub async fn standings(&self) -> HashMap<K, Standing> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Standings(reply));
        answer.await.unwrap_or_default()
    }
}

struct Actor<K> {
    limits: Limits,
    events: mpsc::UnboundedSender<Event<K>>,
    entries: HashMap<K, Entry>,
    agenda: Agenda<K>,
    running: JoinSet<(Outcome, Duration)>,
    owners: HashMap<Id, (K, u64)>,
    last_ticket: u64,
}

impl<K: Clone + Eq + Hash + Send + 'static> Actor<K> {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command<K>>) {
        loop {
            self.start_due_probes();
            let has_room = self.running.len() < self.limits.concurrent.get();
            let next_due = self.agenda.next_due().filter(|_| has_room);
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Apply(wanted)) => self.apply(wanted),
                    Some(Command::Standings(reply)) => drop(reply.send(self.standings())),
                    None => return,
                },
                Some(ended) = self.running.join_next_with_id() => self.probe_ended(ended),
                () = tokio::time::sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => {}
            }
        }
    }

    fn apply(&mut self, wanted: HashMap<K, Wanted>) {
        self.entries.retain(|key, entry| {
            let stays = wanted.contains_key(key);
            if !stays {
                entry.stop_probe();
            }
            stays
        });
        let mut to_start = Vec::new();
        for (key, wanted) in wanted {
            let before = match self.entries.get_mut(&key) {
                None => {
                    self.entries.insert(key.clone(), Entry::new(wanted));
                    self.entries[&key].is_off().then_some(Health::Off)
                }
                Some(entry) if entry.wanted.check == wanted.check && entry.wanted.paused == wanted.paused => {
                    continue;
                }
                Some(entry) => entry.replace(wanted),
            };
            if let Some(before) = before {
                self.tell(&key, before, self.entries[&key].is_off());
            }
            if let Some(interval) = self.entries[&key].interval() {
                to_start.push((key, interval));
            }
        }
        let (now, total) = (Instant::now(), to_start.len());
        for (nth, (key, interval)) in to_start.into_iter().enumerate() {
            self.schedule(key, now + first_offset(nth, total, interval));
        }
    }

    fn schedule(&mut self, key: K, due: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        self.last_ticket += 1;
        entry.ticket = self.last_ticket;
        self.agenda.add(due, entry.ticket, key);
    }

    fn start_due_probes(&mut self) {
        let now = Instant::now();
        while self.running.len() < self.limits.concurrent.get() {
            let Some(due) = self.agenda.take_due(now) else { return };
            let Some(entry) = self.entries.get_mut(&due.key).filter(|entry| entry.ticket == due.ticket)
            else {
                continue;
            };
            let Some(spec) = entry.wanted.check.clone() else { continue };
            let handle = self.running.spawn(async move {
                let began = Instant::now();
                (probe(&spec).await, began.elapsed())
            });
            self.owners.insert(handle.id(), (due.key, due.ticket));
            entry.probe = Some(handle);
        }
    }

    fn probe_ended(&mut self, ended: Result<(Id, (Outcome, Duration)), JoinError>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, Some(result)),
            Err(error) => (error.id(), None),
        };
        let Some((key, ticket)) = self.owners.remove(&id) else { return };
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.ticket == ticket) else { return };
        entry.probe = None;
        let (outcome, took) =
            result.unwrap_or_else(|| (Outcome::Untested("the probe broke off".into()), Duration::ZERO));
        entry.took = Some(took);
        if let Some(interval) = entry.interval() {
            let now = Instant::now();
            let wait = jittered(interval, fastrand::f64()).saturating_sub(took);
            if let Some(News { before, first }) = entry.observe(&outcome, now.into_std()) {
                self.tell(&key, before, first);
            }
            self.schedule(key, now + wait);
        }
    }

    fn tell(&self, key: &K, before: Health, first: bool) {
        let entry = &self.entries[key];
        // Fails only when nobody listens any more.
        let _ = self.events.send(Event {
            key: key.clone(),
            before,
            health: entry.health(),
            first,
            reason: entry.reason.clone(),
            at: SystemTime::now(),
        });
    }

    fn standings(&self) -> HashMap<K, Standing> {
        self.entries.iter().map(|(key, entry)| (key.clone(), entry.standing())).collect()
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
