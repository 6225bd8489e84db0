//! Attachments on their way out: the kernel takes a program off its interface a moment after the last pin of its link has gone.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::loaded_programs;

use super::pins::linked;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What is attached by the pins of a folder, to be waited for once they are removed.
pub struct Departing {
    /// The kernel's numbers of the programs. That of a link goes before the link has let go of its interface.
    programs: Vec<u32>,
}

impl Departing {
    /// What is pinned in this folder now.
    #[must_use]
    pub fn of(pin_dir: &Path) -> Self {
        let links = linked(pin_dir).into_iter().map(|name| pin_dir.join("links").join(name));
        // Held no longer than it takes to ask: who holds a link keeps it attached.
        let program = |path| Some(FdLink::from(PinnedLink::from_pin(path).ok()?).info().ok()?.program_id());
        Self { programs: links.filter_map(program).collect() }
    }

    /// Waits until none of it is attached any more; says whether that came true in time. Who may not ask believes it.
    #[must_use]
    pub fn are_gone(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while loaded_programs().flatten().any(|program| self.programs.contains(&program.id())) {
            if Instant::now() >= until {
                return false;
            }
            sleep(LOOK_EVERY);
        }
        true
    }
}
