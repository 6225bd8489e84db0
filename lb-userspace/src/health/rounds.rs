//! Who is asked what, and when: each question once, whoever wants its answer, and no more than so many at a time.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use super::agenda::Agenda;
use super::probe::{Kit, Outcome, probe};
use super::spec::Question;
use super::wire::Wire;

/// The questions in force.
pub(super) struct Rounds<K> {
    kit: Arc<Kit>,
    concurrent: NonZeroUsize,
    asked: HashMap<Arc<Question>, Asked<K>>,
    agenda: Agenda<Arc<Question>>,
    running: JoinSet<(Outcome, Duration)>,
    owners: HashMap<Id, (Arc<Question>, u64)>,
    last_ticket: u64,
}

/// A question that somebody wants answered.
struct Asked<K> {
    by: HashSet<K>,
    /// The latest appointment or probe; whatever carries an older ticket is void.
    ticket: u64,
    probe: Option<AbortHandle>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) question: Arc<Question>,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

impl<K: Clone + Eq + Hash> Rounds<K> {
    pub(super) fn new(concurrent: NonZeroUsize, wire: Option<Wire>) -> Self {
        Self {
            kit: Arc::new(Kit::new(wire)),
            concurrent,
            asked: HashMap::new(),
            agenda: Agenda::new(),
            running: JoinSet::new(),
            owners: HashMap::new(),
            last_ticket: 0,
        }
    }

    /// Somebody wants this answered. Says which question it is, if it must be scheduled for that.
    pub(super) fn want(&mut self, key: K, question: &Question) -> Option<Arc<Question>> {
        if let Some((question, asked)) = self.asked.get_key_value(question) {
            let question = question.clone();
            // The answer to a probe under way is as good as a new one.
            let is_under_way = asked.probe.is_some();
            self.asked.get_mut(&question)?.by.insert(key);
            return (!is_under_way).then_some(question);
        }
        let question = Arc::new(question.clone());
        let asked = Asked { by: HashSet::from([key]), ticket: 0, probe: None };
        self.asked.insert(question.clone(), asked);
        Some(question)
    }

    /// Somebody no longer wants this answered. A question that nobody wants answered is not asked; a probe under way breaks
    /// off.
    pub(super) fn unwant(&mut self, key: &K, question: &Question) {
        let Some(asked) = self.asked.get_mut(question) else { return };
        asked.by.remove(key);
        if asked.by.is_empty()
            && let Some(Asked { probe: Some(probe), .. }) = self.asked.remove(question)
        {
            probe.abort();
        }
    }

    /// Who wants this answered.
    pub(super) fn wanted_by(&self, question: &Question) -> Vec<K> {
        self.asked.get(question).into_iter().flat_map(|asked| asked.by.iter().cloned()).collect()
    }

    /// Makes this its next appointment; an earlier one is void.
    pub(super) fn schedule(&mut self, question: Arc<Question>, due: Instant) {
        let Some(asked) = self.asked.get_mut(&question) else { return };
        self.last_ticket += 1;
        asked.ticket = self.last_ticket;
        self.agenda.add(due, asked.ticket, question);
    }

    /// Starts what is due, as far as there is room; returns when to come again, if that is known.
    pub(super) fn start_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while self.running.len() < self.concurrent.get() {
            let Some(due) = self.agenda.take_due(now) else { return self.agenda.next_due() };
            let Some(asked) = self.asked.get_mut(&due.key).filter(|asked| asked.ticket == due.ticket) else {
                continue;
            };
            let (question, kit) = (due.key.clone(), self.kit.clone());
            let handle = self.running.spawn(async move {
                let began = Instant::now();
                (probe(&question, &kit).await, began.elapsed())
            });
            self.owners.insert(handle.id(), (due.key, due.ticket));
            asked.probe = Some(handle);
        }
        None
    }

    /// The end of the next probe: its answer, unless nobody wants that any more. Waits for ever where nothing is asked. May be
    /// dropped at any time.
    pub(super) async fn ended(&mut self) -> Option<Answer> {
        let Some(ended) = self.running.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, (outcome, took)) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), (Outcome::Untested("the probe broke off".into()), Duration::ZERO)),
        };
        let (question, ticket) = self.owners.remove(&id)?;
        let asked = self.asked.get_mut(&question).filter(|asked| asked.ticket == ticket)?;
        asked.probe = None;
        Some(Answer { question, outcome, took })
    }
}
