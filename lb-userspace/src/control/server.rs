//! The agent's end of the socket: every caller is bounded in size, number and time, and none can make
//! another wait.

use super::frame::{self, Frame};
use super::message::{Request, Response};
use super::socket_file::ControlSocket;
use crate::api::{Failure, FailureKind};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// A request on its way to the agent, and the way back for its answer.
///
/// Dropping the sender unused tells the caller that the agent failed.
pub type Inquiry = (Request, oneshot::Sender<Response>);

/// What callers may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest request, in bytes.
    pub request_bytes: usize,
    /// Callers at a time; one more is told so and sent away.
    pub callers: usize,
    /// The longest wait for a caller's next whole request, and for it to take its answer.
    pub caller_patience: Duration,
    /// The longest wait for the agent's answer.
    pub agent_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 64 << 10,
            callers: 32,
            caller_patience: Duration::from_secs(10),
            agent_patience: Duration::from_secs(60),
        }
    }
}

/// The server of one control socket.
#[derive(Debug)]
pub struct Server {
    // Dropped after the listener, and takes the file away.
    listener: UnixListener,
    socket: ControlSocket,
    limits: Limits,
}

impl Server {
    /// Listens on a bound socket. Must be called within a tokio runtime that drives I/O.
    ///
    /// # Errors
    /// When the descriptor cannot be handed to the runtime.
    pub fn new(socket: ControlSocket, limits: Limits) -> io::Result<Self> {
        let listener = socket.listener()?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, socket, limits })
    }

    /// Serves callers until the agent no longer receives inquiries; the socket's file is gone afterwards.
    ///
    /// Safe to cancel: drop the future to stop serving at once.
    pub async fn run(self, agent: mpsc::Sender<Inquiry>) {
        let places = Arc::new(Semaphore::new(self.limits.callers));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = agent.closed() => break,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors or memory: neither is mended by asking again at once.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (limits, agent) = (self.limits, agent.clone());
            match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    tokio::spawn(async move {
                        // A caller that vanishes is its own affair.
                        let _ = attend(stream, limits, agent).await;
                        drop(place);
                    });
                }
                Err(_) => {
                    tokio::spawn(send_away(stream, limits));
                }
            }
        }
        drop(self.socket);
    }
}

async fn attend(stream: UnixStream, limits: Limits, agent: mpsc::Sender<Inquiry>) -> io::Result<()> {
    let (from_caller, mut to_caller) = stream.into_split();
    let mut from_caller = BufReader::new(from_caller);
    loop {
        let next = timeout(limits.caller_patience, frame::read(&mut from_caller, limits.request_bytes)).await;
        let (response, last) = match next {
            Err(_) => (refusal(FailureKind::TimedOut, "no whole request came in time"), true),
            Ok(Ok(Frame::End)) => return Ok(()),
            Ok(Ok(Frame::TooLong)) => {
                let what = format!("the request is longer than {} bytes", limits.request_bytes);
                (refusal(FailureKind::BadRequest, what), true)
            }
            Ok(Ok(Frame::Line(line))) => (answer(&line, limits, &agent).await, false),
            Ok(Err(error)) => return Err(error),
        };
        send(&mut to_caller, &response, limits).await?;
        if last {
            return Ok(());
        }
    }
}

async fn answer(line: &[u8], limits: Limits, agent: &mpsc::Sender<Inquiry>) -> Response {
    let request = match serde_json::from_slice::<Request>(line) {
        Ok(request) => request,
        Err(error) => {
            let what = format!(
                "not a request that agent {} understands: {error}; use the xlvs the agent was started with",
                env!("CARGO_PKG_VERSION")
            );
            return refusal(FailureKind::BadRequest, what);
        }
    };
    let (reply, response) = oneshot::channel();
    let exchange = async {
        agent.send((request, reply)).await.ok()?;
        response.await.ok()
    };
    match timeout(limits.agent_patience, exchange).await {
        Ok(Some(response)) => response,
        Ok(None) => refusal(FailureKind::Internal, "the agent stopped before it answered"),
        Err(_) => {
            let what = format!(
                "the agent did not answer within {} s; it may still do what was asked",
                limits.agent_patience.as_secs_f64()
            );
            refusal(FailureKind::TimedOut, what)
        }
    }
}

async fn send_away(stream: UnixStream, limits: Limits) {
    let (_, mut to_caller) = stream.into_split();
    let what = format!("the agent already serves {} callers; try again", limits.callers);
    // It is being sent away: that it does not listen changes nothing.
    let _ = send(&mut to_caller, &refusal(FailureKind::Busy, what), limits).await;
}

async fn send(to_caller: &mut OwnedWriteHalf, response: &Response, limits: Limits) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    timeout(limits.caller_patience, to_caller.write_all(&line)).await?
}

fn refusal(kind: FailureKind, what: impl Into<String>) -> Response {
    Response::Error(Failure::new(kind, what))
}
