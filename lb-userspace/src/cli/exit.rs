//! Exit codes: a fixed part of the interface.

use super::streams;
use crate::api::{ErrorReport, Failure, FailureKind, Schema};
use crate::output::Format;
use std::process::ExitCode;

/// How a run of the command line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused or failed; nothing changed.
    Failed = 1,
    /// The command line is at fault.
    Usage = 2,
    /// No agent answers.
    NoAgent = 3,
    /// Timed out.
    TimedOut = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&FailureKind> for Exit {
    fn from(kind: &FailureKind) -> Self {
        match kind {
            FailureKind::Usage => Self::Usage,
            FailureKind::NoAgent => Self::NoAgent,
            FailureKind::TimedOut => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

/// Tells people on stderr, and programs that asked for JSON on stdout too.
pub(super) fn report_failure(failure: &Failure, format: Format) -> Exit {
    for problem in &failure.problems {
        streams::talk(problem);
    }
    streams::talk(format_args!("xlvs: {}", failure.message));
    if format == Format::Json {
        let report = ErrorReport { schema: Schema, error: failure.clone() };
        if let Ok(json) = serde_json::to_string_pretty(&report) {
            // The failure's own exit code stands, whatever becomes of this.
            let _ = streams::data(&(json + "\n"));
        }
    }
    Exit::from(&failure.kind)
}

#[cfg(test)]
mod tests {
    use super::Exit;
    use crate::api::FailureKind;

    #[test]
    fn only_three_kinds_are_not_exit_one() {
        let special: Vec<_> =
            FailureKind::KNOWN.iter().filter(|kind| Exit::from(*kind) != Exit::Failed).collect();
        assert_eq!(special, [&FailureKind::TimedOut, &FailureKind::NoAgent, &FailureKind::Usage]);
        assert_eq!(Exit::from(&FailureKind::Other("new".into())), Exit::Failed);
    }
}
