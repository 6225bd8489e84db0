//! Where the time of a long piece of work goes, for the log at debug level.

use std::time::Instant;

/// A watch that is read at the end of each stage.
pub struct Stages {
    of: &'static str,
    last: Instant,
}

impl Stages {
    /// The first stage begins now.
    #[must_use]
    pub fn of(work: &'static str) -> Self {
        Self { of: work, last: Instant::now() }
    }

    /// This stage is over, and the next begins.
    pub fn done(&mut self, stage: &'static str) {
        let now = Instant::now();
        let us = now.duration_since(self.last).as_micros() as u64;
        self.last = now;
        tracing::debug!(stage, us, "{}: {stage} took {us} us", self.of);
    }
}
