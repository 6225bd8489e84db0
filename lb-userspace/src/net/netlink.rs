//! One rtnetlink socket for questions and orders, and the one error they share.

use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::{Stream, StreamExt, pin_mut};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::task::JoinHandle;

/// The kernel answers within the system call; more than this means that the answer was lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    pub(super) handle: rtnetlink::Handle,
    driver: JoinHandle<()>,
}

/// What was asked of the kernel, and why it did not happen.
#[derive(Debug)]
pub struct NetError {
    attempted: String,
    cause: io::Error,
}

impl Netlink {
    /// Opens a socket in this thread's network namespace and drives it on the current tokio runtime.
    pub fn open() -> Result<Self, NetError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|cause| NetError::new("open a netlink socket", cause))?;
        Ok(Self { handle, driver: tokio::spawn(connection) })
    }

    /// Sends an order and waits for the kernel's acknowledgement.
    pub(super) async fn order(
        &self,
        attempted: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetError> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let answers = self
            .handle
            .clone()
            .request(message)
            .map_err(|error| NetError::from_rtnetlink(attempted, error))?;
        let answers = answers.filter_map(async |answer| match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => {
                Some(Err(rtnetlink::Error::NetlinkError(error)))
            }
            _ => None::<Result<(), _>>,
        });
        collect(attempted, answers).await.map(|_| ())
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Gathers all answers to one question.
pub(super) async fn collect<T>(
    attempted: &str,
    answers: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Vec<T>, NetError> {
    pin_mut!(answers);
    let gathering = async {
        let mut all = Vec::new();
        while let Some(answer) = answers.next().await {
            all.push(answer.map_err(|error| NetError::from_rtnetlink(attempted, error))?);
        }
        Ok(all)
    };
    let too_late =
        |_| NetError::new(attempted, io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer"));
    tokio::time::timeout(PATIENCE, gathering).await.map_err(too_late)?
}

impl NetError {
    pub(super) fn new(attempted: &str, cause: io::Error) -> Self {
        Self { attempted: attempted.to_owned(), cause }
    }

    fn from_rtnetlink(attempted: &str, error: rtnetlink::Error) -> Self {
        let cause = match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            rtnetlink::Error::RequestFailed => {
                io::Error::new(io::ErrorKind::NotConnected, "the netlink socket is closed")
            }
            other => io::Error::other(other),
        };
        Self::new(attempted, cause)
    }

    /// Whether the kernel answered with this `errno`.
    pub(super) fn is(&self, errno: i32) -> bool {
        self.cause.raw_os_error() == Some(errno)
    }

    /// Whether the socket, and not the question, is at fault: open a new one.
    pub(super) fn is_broken_socket(&self) -> bool {
        matches!(self.cause.kind(), io::ErrorKind::TimedOut | io::ErrorKind::NotConnected)
    }

    /// Whether the caller lacks a capability (CAP_NET_ADMIN for all orders).
    pub fn is_lack_of_privilege(&self) -> bool {
        self.cause.kind() == io::ErrorKind::PermissionDenied
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempted, cause } = self;
        let text = cause.to_string();
        let text = text.split(" (os error").next().unwrap_or(&text);
        write!(f, "{attempted}: {text}")?;
        if self.is_lack_of_privilege() {
            f.write_str("; run as root or grant CAP_NET_ADMIN")?;
        }
        Ok(())
    }
}

impl std::error::Error for NetError {}

/// The errno values this module tells apart.
pub(super) mod errno {
    pub(in crate::net) const ENOENT: i32 = 2;
    pub(in crate::net) const EEXIST: i32 = 17;
    pub(in crate::net) const ENODEV: i32 = 19;
    pub(in crate::net) const EADDRNOTAVAIL: i32 = 99;
}
