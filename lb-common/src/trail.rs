//! What one run of a copy of the program notes about a frame: its own memory, which no other loading shares.

use crate::{
    slot::ServerId,
    stage::Stage,
    verdict::{Event, Verdict},
    word::Word,
};

/// The map value, one for each CPU.
#[repr(C)]
#[derive(Debug)]
pub struct Trail {
    /// The verdict's number + 1 (low byte), and above it the number + 1 of the stage that came to it, 0 for the entry.
    ending: Word,
    /// A bit for each event.
    events: Word,
    /// The server's id; 0: none.
    server: Word,
    /// The number + 1 of the service that was asked first.
    service: Word,
}

impl Trail {
    #[must_use]
    pub const fn new() -> Self {
        Self { ending: Word::new(0), events: Word::new(0), server: Word::new(0), service: Word::new(0) }
    }

    /// Its size.
    pub const WORDS: usize = 4;

    /// As it travels.
    #[must_use]
    #[inline(always)]
    pub fn words(&self) -> [u64; Self::WORDS] {
        [self.ending.load(), self.events.load(), self.server.load(), self.service.load()]
    }

    /// What [`words`](Self::words) gave.
    #[must_use]
    pub const fn of([ending, events, server, service]: [u64; Self::WORDS]) -> Self {
        let [ending, events] = [Word::new(ending), Word::new(events)];
        Self { ending, events, server: Word::new(server), service: Word::new(service) }
    }

    #[inline(always)]
    pub fn clear(&self) {
        for word in [&self.ending, &self.events, &self.server, &self.service] {
            word.store(0);
        }
    }

    #[inline(always)]
    pub fn end(&self, verdict: u32, stage: Option<Stage>) {
        let stage = stage.map_or(0, |stage| stage as u64 + 1);
        self.ending.store((u64::from(verdict) + 1) | (stage << 8));
    }

    #[inline(always)]
    pub fn note_event(&self, event: Event) {
        self.events.store(self.events.load() | (1 << event as u8));
    }

    #[inline(always)]
    pub fn note_server(&self, server: ServerId) {
        self.server.store(u64::from(server.get()));
    }

    /// Only the first: those that are asked later are about other connections.
    #[inline(always)]
    pub fn note_service(&self, number: u32) {
        if self.service.load() == 0 {
            self.service.store(u64::from(number) + 1);
        }
    }

    /// The number of the verdict; 63 if there is none yet.
    #[must_use]
    #[inline(always)]
    pub fn verdict_number(&self) -> u64 {
        (self.ending.load().wrapping_sub(1) & 0xff).min(63)
    }

    /// `None`: the run came to no end.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        Verdict::ALL.get(usize::from(self.ending.load() as u8).checked_sub(1)?).copied()
    }

    /// The stage that came to the verdict; `None`: the entry.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        let number = (self.ending.load() >> 8).checked_sub(1)?;
        Stage::ALL.iter().copied().find(|stage| *stage as u64 == number)
    }

    /// What happened on the way that would have been counted.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        let bits = self.events.load();
        Event::ALL.iter().copied().filter(move |event| bits >> *event as u8 & 1 == 1)
    }

    #[must_use]
    #[inline(always)]
    pub fn server(&self) -> Option<ServerId> {
        ServerId::new(self.server.load() as u16)
    }

    #[must_use]
    #[inline(always)]
    pub fn service(&self) -> Option<u32> {
        (self.service.load() as u32).checked_sub(1)
    }
}

impl Default for Trail {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read() {
        let trail = Trail::default();
        assert_eq!(trail.verdict_number(), 63);
        assert_eq!(
            (trail.verdict(), trail.stage(), trail.server(), trail.service()),
            (None, None, None, None)
        );
        for verdict in Verdict::ALL {
            trail.end(*verdict as u32, None);
            assert_eq!((trail.verdict(), trail.stage()), (Some(*verdict), None));
            assert_eq!(trail.verdict_number(), *verdict as u64);
            for stage in Stage::ALL {
                trail.end(*verdict as u32, Some(*stage));
                assert_eq!((trail.verdict(), trail.stage()), (Some(*verdict), Some(*stage)));
            }
        }
        for event in Event::ALL {
            trail.note_event(*event);
        }
        assert!(trail.events().eq(Event::ALL.iter().copied()));
        trail.note_server(ServerId::new(7).expect("not 0"));
        trail.note_service(0);
        trail.note_service(3);
        assert_eq!((trail.server().map(ServerId::get), trail.service()), (Some(7), Some(0)));
        let copy = Trail::of(trail.words());
        assert_eq!((copy.server(), copy.service()), (trail.server(), trail.service()));
        trail.clear();
        assert_eq!((trail.verdict(), trail.events().count(), trail.server()), (None, 0, None));
    }
}
