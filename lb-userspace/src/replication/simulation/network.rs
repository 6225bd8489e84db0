//! Links between directors: late, cut in one direction or both, and connections that each end loses at another time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::session::SessionId;

/// One message on its way: when it arrives, and in which session of its receiver.
pub(super) struct Letter {
    pub arrives: u64,
    pub session: SessionId,
    pub body: Vec<u8>,
}

/// The end of a connection at one node.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub session: SessionId,
    /// The session at the other side, as it was when both were made.
    pub other: SessionId,
    /// When this end will notice that nothing comes any more.
    pub notices: Option<u64>,
}

/// By (from, to) throughout.
#[derive(Default)]
pub(super) struct Network {
    pub cut: BTreeSet<(usize, usize)>,
    pub ends: BTreeMap<(usize, usize), End>,
    pub letters: BTreeMap<(usize, usize), VecDeque<Letter>>,
    /// The last letter that was delivered: what a duplicate is made of.
    pub delivered: BTreeMap<(usize, usize), (SessionId, Vec<u8>)>,
}

impl Network {
    /// Sends a letter behind those already on their way; on a cut link it is lost, and with it the connection.
    pub fn send(&mut self, from: usize, to: usize, now: u64, delay: u64, body: Vec<u8>) {
        let session = self.ends[&(from, to)].other;
        if self.cut.contains(&(from, to)) {
            self.doom(from, to, now, delay);
            return;
        }
        let queue = self.letters.entry((from, to)).or_default();
        let behind = queue.back().filter(|last| last.session == session).map_or(0, |last| last.arrives);
        queue.push_back(Letter { arrives: behind.max(now + delay), session, body });
    }

    /// The connection is over; both ends will notice within three seconds, each at its own time.
    pub fn doom(&mut self, a: usize, b: usize, now: u64, delay: u64) {
        for (pair, after) in [((a, b), 500 + delay * 2), ((b, a), 3000 - delay * 2)] {
            if let Some(end) = self.ends.get_mut(&pair) {
                end.notices.get_or_insert(now + after);
            }
        }
    }

    /// What has arrived by now. Letters of different connections may overtake each other.
    pub fn due(&mut self, now: u64) -> Vec<(usize, usize, Letter)> {
        let mut due = Vec::new();
        for (&(from, to), queue) in &mut self.letters {
            let (mut later, mut blocked) = (VecDeque::new(), BTreeSet::new());
            for letter in queue.drain(..) {
                if letter.arrives <= now && !blocked.contains(&letter.session) {
                    due.push((from, to, letter));
                } else {
                    blocked.insert(letter.session);
                    later.push_back(letter);
                }
            }
            *queue = later;
        }
        due
    }
}
