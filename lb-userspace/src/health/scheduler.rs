//! Runs all checks: one actor owns them, the agent tells it the whole set that is wanted, and it tells the agent what
//! changed.
//!
//! Applying a new set disturbs nobody whose check stays the same: counters, verdict and rhythm go on. A question is never
//! asked twice at the same time, even if several want its answer, and no more than [`Limits::concurrent`] are asked at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::agenda::{first_offset, jittered};
use super::entry::{Entry, News, Said, Standing, Wanted};
use super::rounds::{Answer, Rounds};
use super::state::Health;
use super::wire::Wire;

/// News of one server: a changed state, its first answer since it was added, a new reason while down, the first
/// answer in a state that was restored, or another word of its own agent.
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
    /// What its own agent says; `None` before the first answer, and where none is asked.
    pub said: Option<Said>,
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
    /// namespace of that thread. Without a `wire`, questions that have a path come to no verdict.
    pub fn start(limits: Limits, wire: Option<Wire>) -> (Self, mpsc::UnboundedReceiver<Event<K>>) {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (events, outbox) = mpsc::unbounded_channel();
        let actor = Actor { events, entries: HashMap::new(), rounds: Rounds::new(limits.concurrent, wire) };
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
    events: mpsc::UnboundedSender<Event<K>>,
    entries: HashMap<K, Entry>,
    rounds: Rounds<K>,
}

impl<K: Clone + Eq + Hash + Send + 'static> Actor<K> {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command<K>>) {
        loop {
            let next_due = self.rounds.start_due();
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Apply(wanted)) => self.apply(wanted),
                    Some(Command::Standings(reply)) => drop(reply.send(self.standings())),
                    None => return,
                },
                // A probe that was void has made room, too.
                answer = self.rounds.ended() => answer.into_iter().for_each(|answer| self.hear(answer)),
                () = tokio::time::sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => {}
            }
        }
    }

    fn apply(&mut self, wanted: HashMap<K, Wanted>) {
        for (key, entry) in self.entries.extract_if(|key, _| !wanted.contains_key(key)) {
            for question in entry.questions() {
                self.rounds.unwant(&key, question);
            }
        }
        let mut to_start = Vec::new();
        for (key, wanted) in wanted {
            let before = match self.entries.get_mut(&key) {
                None => {
                    self.entries.insert(key.clone(), Entry::new(wanted));
                    self.entries[&key].is_off().then_some(Health::Off)
                }
                Some(entry) if entry.is_wanted_as(&wanted) => continue,
                Some(entry) => {
                    entry.questions().for_each(|question| self.rounds.unwant(&key, question));
                    entry.replace(wanted)
                }
            };
            if let Some(before) = before {
                self.tell(&key, before, self.entries[&key].is_off());
            }
            let entry = &self.entries[&key];
            for question in entry.questions() {
                let to_schedule = self.rounds.want(key.clone(), question);
                to_start.extend(to_schedule.zip(entry.interval(question)));
            }
        }
        let (now, total) = (Instant::now(), to_start.len());
        for (nth, (question, interval)) in to_start.into_iter().enumerate() {
            self.rounds.schedule(question, now + first_offset(nth, total, interval));
        }
    }

    /// An answer is everybody's who wanted it; the next is due when the first of them wants one.
    fn hear(&mut self, Answer { question, outcome, took }: Answer) {
        let now = Instant::now();
        let mut interval: Option<Duration> = None;
        for key in self.rounds.wanted_by(&question) {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.took = Some(took);
            let news = entry.observe(&question, &outcome, now.into_std());
            interval = interval.into_iter().chain(entry.interval(&question)).min();
            if let Some(News { before, first }) = news {
                self.tell(&key, before, first);
            }
        }
        if let Some(interval) = interval {
            let wait = jittered(interval, fastrand::f64()).saturating_sub(took);
            self.rounds.schedule(question, now + wait);
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
            said: entry.said.clone(),
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
