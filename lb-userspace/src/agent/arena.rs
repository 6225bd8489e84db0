//! Which words of the table arena are free. Pure; time is an argument.

use std::time::{Duration, Instant};

use lb_common::pick::Extent;

/// A run of the program takes microseconds; an extent that nothing has named for this long is read by nobody.
pub const GRACE: Duration = Duration::from_secs(1);

/// The arena's occupied stretches.
#[derive(Debug, Clone)]
pub struct Arena {
    words: u32,
    /// Sorted by offset. `until`: no longer named, free from then on.
    held: Vec<Held>,
    generation: u16,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    offset: u32,
    words: u32,
    until: Option<Instant>,
}

impl Arena {
    /// An arena of so many words in which these extents are in use.
    #[must_use]
    pub fn new(words: u32, in_use: impl IntoIterator<Item = Extent>) -> Self {
        let mut held: Vec<Held> = Vec::new();
        let mut generation = 0;
        for extent in in_use {
            generation = generation.max(extent.generation());
            if !held.iter().any(|other| other.offset == extent.offset()) {
                held.push(Held { offset: extent.offset(), words: extent.words(), until: None });
            }
        }
        held.sort_by_key(|stretch| stretch.offset);
        Self { words, held, generation }
    }

    /// A free stretch for a table of so many ids: the first that is large enough.
    #[must_use]
    pub fn take(&mut self, size: u32, now: Instant) -> Option<Extent> {
        self.held.retain(|stretch| stretch.until.is_none_or(|until| until > now));
        let words = Extent::words_for(size);
        let mut offset = 0;
        let mut place = self.held.len();
        for (i, stretch) in self.held.iter().enumerate() {
            if stretch.offset - offset >= words {
                place = i;
                break;
            }
            offset = stretch.offset + stretch.words;
        }
        if self.words.checked_sub(offset)? < words {
            return None;
        }
        self.generation = (self.generation + 1) & 0x7fff;
        let extent = Extent::new(offset, size, self.generation)?;
        self.held.insert(place, Held { offset, words, until: None });
        Some(extent)
    }

    /// Nothing names this extent any more.
    pub fn release(&mut self, extent: Extent, now: Instant) {
        if let Some(stretch) = self.held.iter_mut().find(|stretch| stretch.offset == extent.offset()) {
            stretch.until = Some(now + GRACE);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stretches_in_use_never_overlap(steps in proptest::collection::vec((1u32..600, any::<bool>(), 0u64..3), 1..80)) {
            let mut arena = Arena::new(400, []);
            let mut live: Vec<Extent> = Vec::new();
            let mut gone: Vec<(Extent, Instant)> = Vec::new();
            let mut now = Instant::now();
            for (size, release, pass) in steps {
                now += Duration::from_millis(pass * 400);
                if release && !live.is_empty() {
                    let extent = live.remove(size as usize % live.len());
                    arena.release(extent, now);
                    gone.push((extent, now));
                } else if let Some(extent) = arena.take(size, now) {
                    prop_assert!(extent.offset() + extent.words() <= 400);
                    let recent = gone.iter().filter(|(_, at)| now < *at + GRACE).map(|(extent, _)| extent);
                    for other in live.iter().chain(recent) {
                        let apart = extent.offset() + extent.words() <= other.offset()
                            || other.offset() + other.words() <= extent.offset();
                        prop_assert!(apart, "{extent:?} {other:?}");
                    }
                    live.push(extent);
                }
            }
        }
    }

    #[test]
    fn a_restart_keeps_what_the_pins_name() {
        let named = Extent::new(10, 40, 7).unwrap();
        let mut arena = Arena::new(100, [named, named]);
        let next = arena.take(200, Instant::now()).unwrap();
        assert_eq!((next.offset(), next.generation()), (20, 8));
        assert_eq!(arena.take(200, Instant::now()), None);
    }
}
