//! Data goes to stdout, talk to stderr; a reader that has seen enough is no failure.

use crate::api::{Failure, FailureKind};
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes data. A closed pipe (`xlvs connections | head`) counts as written.
pub(super) fn data(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(FailureKind::Internal, format!("could not write the report to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something to people, a line. That nobody listens changes nothing.
pub(super) fn talk(words: impl Display) {
    let _ = writeln!(io::stderr(), "{words}");
}
