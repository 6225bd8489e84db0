//! The command line's end of the socket: blocking, with a deadline over the whole exchange.

use super::message::{Report, Request, Response};
use crate::api::{Failure, FailureKind};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An answer longer than this is not believed: a hundred thousand servers fit into it.
const LONGEST_ANSWER: usize = 256 << 20;

/// A caller of one agent.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    patience: Duration,
}

/// Why there is no report.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens: there is no socket, or its agent is dead.
    NoAgent {
        /// The socket.
        socket: PathBuf,
    },
    /// The agent went away before it answered; what became of the request is not known.
    HungUp {
        /// The socket.
        socket: PathBuf,
    },
    /// It did not answer in time; what became of the request is not known.
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// The socket cannot be used.
    Io {
        /// The socket.
        socket: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// What came back is not an answer.
    Garbled {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The agent answered that it did not do it.
    Failed(Failure),
}

impl Client {
    /// A caller of the agent behind `socket` that waits at most `patience` for each answer.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, patience: Duration) -> Self {
        Self { socket: socket.into(), patience }
    }

    /// The socket it calls.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends one request and waits for its report.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call(&self, request: &Request) -> Result<Report, ClientError> {
        let line = self.exchange(request)?;
        let response: Response =
            serde_json::from_slice(&line).map_err(|error| self.garbled(error.to_string()))?;
        Result::from(response).map_err(ClientError::Failed)
    }

    /// As [`Client::call`], for a report of the kind that `expected` recognises.
    ///
    /// # Errors
    /// See [`ClientError`]; a report of another kind is [`ClientError::Garbled`].
    pub fn ask<T>(&self, request: &Request, expected: fn(Report) -> Option<T>) -> Result<T, ClientError> {
        let report = self.call(request)?;
        expected(report)
            .ok_or_else(|| self.garbled("the report is not the one that was asked for".to_owned()))
    }

    fn exchange(&self, request: &Request) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + self.patience;
        let mut stream = connect(&self.socket, self.patience).map_err(|error| self.no_connection(error))?;
        let mut line = serde_json::to_vec(request).map_err(|error| self.garbled(error.to_string()))?;
        line.push(b'\n');
        match stream.write_all(&line) {
            Ok(()) => {}
            // It hung up before it heard us; what it said before (that it is busy, say) is there to be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(self.broken(error)),
        }
        self.read_line(&mut stream, deadline)
    }

    fn read_line(&self, stream: &mut UnixStream, deadline: Instant) -> Result<Vec<u8>, ClientError> {
        let mut answer = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.timed_out());
            }
            stream.set_read_timeout(Some(left)).map_err(|error| self.broken(error))?;
            let got = match stream.read(&mut chunk) {
                Ok(0) => return Err(ClientError::HungUp { socket: self.socket.clone() }),
                Ok(got) => &chunk[..got],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(error)),
            };
            if let Some(end) = got.iter().position(|&byte| byte == b'\n') {
                answer.extend_from_slice(&got[..end]);
                return Ok(answer);
            }
            if answer.len() + got.len() > LONGEST_ANSWER {
                return Err(self.garbled(format!("it is longer than {} MiB", LONGEST_ANSWER >> 20)));
            }
            answer.extend_from_slice(got);
        }
    }

    fn no_connection(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoAgent { socket: self.socket.clone() }
            }
            _ => self.broken(error),
        }
    }

    fn broken(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.timed_out(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                ClientError::HungUp { socket: self.socket.clone() }
            }
            _ => ClientError::Io { socket: self.socket.clone(), source: error },
        }
    }

    fn timed_out(&self) -> ClientError {
        ClientError::TimedOut { socket: self.socket.clone(), after: self.patience }
    }

    fn garbled(&self, why: String) -> ClientError {
        ClientError::Garbled { socket: self.socket.clone(), why }
    }
}

/// Connects within `patience`.
///
/// A Unix socket connects at once or, when a frozen agent's queue is full, not for as long as it stays
/// full; the standard library offers no time-out for that, the send time-out of the socket does
/// (`unix_stream_connect` waits for `sock_sndtimeo`).
pub(super) fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(patience.max(Duration::from_millis(1))))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(std::os::fd::OwnedFd::from(socket)))
}

impl ClientError {
    /// Whether nobody was asked: no agent is there, or its socket is not for this user.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::NoAgent { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }

    /// The same in the contract's form.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        let words = self.to_string();
        match self {
            Self::NoAgent { .. } | Self::HungUp { .. } => Failure::new(FailureKind::NoAgent, words),
            Self::TimedOut { .. } => Failure::new(FailureKind::TimedOut, words),
            Self::Io { .. } => Failure::new(FailureKind::Refused, words),
            Self::Garbled { .. } => Failure::new(FailureKind::Internal, words),
            Self::Failed(failure) => failure,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAgent { socket } => write!(f, "no agent answers on {}", socket.display()),
            Self::HungUp { socket } => write!(
                f,
                "the agent on {} went away before it answered, so what became of the request is not known",
                socket.display()
            ),
            Self::TimedOut { socket, after } => write!(
                f,
                "the agent on {} did not answer within {} s; it may be busy or frozen, and may still do what was asked",
                socket.display(),
                after.as_secs_f64()
            ),
            Self::Io { socket, source } if source.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "the agent's socket {} may not be opened by this user; run this as the agent's user (root)",
                socket.display()
            ),
            Self::Io { socket, source } => {
                write!(f, "could not talk to the agent on {}: {source}", socket.display())
            }
            Self::Garbled { socket, why } => write!(
                f,
                "what listens on {} does not answer like an agent of this version: {why}; \
                 use the xlvs the agent was started with",
                socket.display()
            ),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}
