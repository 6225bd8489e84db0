//! One run of the command line: where everything is, whom to ask, how to print.

use super::args::Common;
use super::exit::Exit;
use super::locate::{self, DEFAULT_CONFIG, DEFAULT_PIN_DIR, Hints, Places};
use super::machine::Machine;
use super::verb_args::Up;
use super::{no_agent, streams};
use crate::agent::{DownOptions, UpOptions};
use crate::api::{Failure, FailureKind, StatusReport};
use crate::control::{AffinityQuery, Client, ClientError, Report, Request};
use crate::output::{self, Format, Render};
use serde::Serialize;
use std::cell::OnceCell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The agent tells at once what it knows, or is in trouble.
const PATIENCE: Duration = Duration::from_secs(10);

/// For what takes work: longer than the agent gives itself, so that its own words about a time-out arrive.
const PATIENCE_FOR_WORK: Duration = Duration::from_secs(70);

/// What a verb works with.
pub(super) struct Session<'a> {
    /// The file, if the command line or the environment names one.
    named_config: Option<PathBuf>,
    named_socket: Option<PathBuf>,
    hints: OnceCell<Hints>,
    pub(super) format: Format,
    pub(super) machine: &'a dyn Machine,
}

impl<'a> Session<'a> {
    pub(super) fn new(common: Common, format: Format, machine: &'a dyn Machine) -> Self {
        // An empty variable is as good as none.
        let named = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        Self {
            named_config: named(common.config),
            named_socket: named(common.socket),
            hints: OnceCell::new(),
            format,
            machine,
        }
    }

    /// The file that verbs which read it read.
    pub(super) fn config(&self) -> PathBuf {
        self.named_config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG))
    }

    /// The file for the agent to read: absolute, for it works elsewhere; none if none was named, for
    /// then the agent's own is meant.
    pub(super) fn config_for_agent(&self) -> Result<Option<PathBuf>, Failure> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).map_err(|error| {
                let what = format!("could not make {} an absolute path: {error}", path.display());
                Failure::new(FailureKind::Refused, what)
            })
        };
        self.named_config.as_ref().map(absolute).transpose()
    }

    fn hints(&self) -> &Hints {
        self.hints.get_or_init(|| {
            locate::hints(&self.config()).unwrap_or_else(|error| {
                // Only a file that somebody named is missed.
                if let Some(named) = self.named_config.as_ref().filter(|_| self.named_socket.is_none()) {
                    let named = named.display();
                    streams::talk(format_args!("xlvs: {named} does not say where its agent is ({error})"));
                }
                Hints::default()
            })
        })
    }

    pub(super) fn socket(&self) -> PathBuf {
        match &self.named_socket {
            Some(named) => named.clone(),
            None => locate::socket(None, self.hints()),
        }
    }

    fn pin_dir(&self) -> PathBuf {
        self.hints().pin_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PIN_DIR))
    }

    /// Where the director of the file keeps what it has; without a file, where it would by default.
    pub(super) fn places(&self) -> Result<Places, Failure> {
        match locate::places(&self.config()) {
            Ok(places) => Ok(places),
            Err(error) if self.named_config.is_none() && error.kind() == ErrorKind::NotFound => {
                Ok(Places::default())
            }
            Err(error) => {
                let what = format!(
                    "{} does not say where its director keeps its key ({error}); see to it as root, or name another file by -c",
                    self.config().display()
                );
                Err(Failure::new(FailureKind::Refused, what))
            }
        }
    }

    pub(super) fn down_options(&self) -> DownOptions {
        DownOptions { config: self.config(), socket: self.socket(), pin_dir: self.pin_dir() }
    }

    /// Asks the agent for a report or a change.
    pub(super) fn ask<T>(&self, request: &Request, expected: fn(Report) -> Option<T>) -> Result<T, Failure> {
        let socket = self.socket();
        Client::new(&socket, patience(request)).ask(request, expected).map_err(|error| match error {
            ClientError::NoAgent { .. } => self.no_agent(&socket),
            other => other.into_failure(),
        })
    }

    /// Asks the agent how it is.
    pub(super) fn ask_status(&self) -> Result<StatusReport, Failure> {
        self.ask(&Request::Status, |report| match report {
            Report::Status(status) => Some(*status),
            _ => None,
        })
    }

    /// Asks the agent, if a file was named only where it can be asked: `None` where nobody is there, or its socket is not for
    /// this user.
    pub(super) fn ask_or_do_without<T>(
        &self,
        request: &Request,
        expected: fn(Report) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let socket = self.socket();
        match Client::new(&socket, patience(request)).ask(request, expected) {
            Ok(report) => Ok(Some(report)),
            Err(error) if self.named_config.is_some() && error.is_out_of_reach() => Ok(None),
            Err(ClientError::NoAgent { .. }) => Err(self.no_agent(&socket)),
            Err(other) => Err(other.into_failure()),
        }
    }

    fn no_agent(&self, socket: &Path) -> Failure {
        let pin_dir = self.pin_dir();
        let pinned = self.machine.pinned(&pin_dir);
        let line = no_agent::line(socket, &pin_dir, &pinned, SystemTime::now());
        Failure::new(FailureKind::NoAgent, line)
    }

    /// Prints a report in the form asked for.
    pub(super) fn print<R: Render + Serialize>(&self, report: &R) -> Result<Exit, Failure> {
        let text = output::text(report, self.format).map_err(|error| {
            Failure::new(FailureKind::Internal, format!("could not write the report as JSON: {error}"))
        })?;
        streams::data(&text)?;
        Ok(Exit::Done)
    }
}

/// How long to wait for the answer. A change may rebuild every table; an explanation or a capture may first have to load its
/// copy of the program, which the kernel verifies.
fn patience(request: &Request) -> Duration {
    match request {
        Request::Reload { .. }
        | Request::Diff { .. }
        | Request::Override(_)
        | Request::Affinity(AffinityQuery { clear: true, .. })
        | Request::Down
        | Request::Explain(_)
        | Request::ExplainFrame(_)
        | Request::BeginCapture(_) => PATIENCE_FOR_WORK,
        Request::Status
        | Request::Connections(_)
        | Request::Affinity(_)
        | Request::Drops
        | Request::Peers
        | Request::GoOnCapturing { .. }
        | Request::EndCapture { .. } => PATIENCE,
    }
}

impl Up {
    pub(super) fn options(self, session: &Session<'_>) -> UpOptions {
        UpOptions {
            config: session.config(),
            ifaces: self.ifaces,
            netns: self.netns.as_deref().map(locate::netns),
            detach: self.detach,
            socket: session.named_socket.clone(),
        }
    }
}
