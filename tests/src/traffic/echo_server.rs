//! A TCP server that answers with its own name, echoes, streams downloads, and can speak first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, interval_at, sleep_until};

use super::runner::Runner;
use super::swarm::socket_for;
use super::wire::{Kind, Reply, Request, download_word};
use crate::namespace::Namespace;

/// Who says the first word on a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// The client asks, as in HTTP.
    OnRequest,
    /// The server greets, as in SMTP.
    AtOnce,
}

/// A server; dropping it closes its listener and every connection, as the end of its process would.
pub struct EchoServer {
    shared: Arc<Shared>,
    push: watch::Sender<u64>,
    _runner: Runner,
}

struct Shared {
    name: String,
    greeting: Greeting,
    open: AtomicUsize,
    accepted: AtomicU64,
    pushed: AtomicUsize,
}

const BACKLOG: u32 = 16_384;

impl EchoServer {
    /// Listens on `address` inside `namespace` and calls itself `name` (at most 255 bytes).
    pub fn start(
        namespace: &Namespace,
        name: &str,
        address: impl Into<SocketAddr>,
        greeting: Greeting,
    ) -> Result<Self> {
        let address = address.into();
        let runner = Runner::start(namespace)?;
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            greeting,
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            pushed: AtomicUsize::new(0),
        });
        let listener = runner
            .run(async move {
                let socket = socket_for(address)?;
                socket.set_reuseaddr(true)?;
                socket.bind(address)?;
                socket.listen(BACKLOG)
            })?
            .with_context(|| format!("{name} cannot listen on {address}"))?;
        let (push, pushes) = watch::channel(0);
        let server = Arc::clone(&shared);
        runner.spawn(async move {
            // An accept that fails (the peer has gone already, descriptors are short) concerns that connection alone.
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        tokio::spawn(serve(stream, Arc::clone(&server), pushes.clone()));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        Ok(Self { shared, push, _runner: runner })
    }

    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Connections ever accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Speaks first on every open connection, in rounds counted from 1. Returns how many connections were open.
    pub fn push_all(&self) -> usize {
        let open = self.open();
        self.push.send_modify(|round| *round += 1);
        open
    }

    /// How many pushes were handed to the kernel so far, over all connections and rounds.
    pub fn pushed(&self) -> usize {
        self.shared.pushed.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>, pushes: watch::Receiver<u64>) {
    shared.accepted.fetch_add(1, Ordering::Relaxed);
    shared.open.fetch_add(1, Ordering::Relaxed);
    // Whatever ends the conversation, the client is the one who judges it.
    let _ended = converse(&mut stream, &shared, pushes).await;
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

async fn converse(
    stream: &mut TcpStream,
    shared: &Shared,
    mut pushes: watch::Receiver<u64>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let reply = |request: Request| Reply { request, name: shared.name.clone() }.encode();
    if shared.greeting == Greeting::AtOnce {
        stream.write_all(&reply(Request { kind: Kind::Banner, number: 0, payload: Vec::new() })).await?;
    }
    pushes.mark_unchanged();
    let mut buffer = Vec::new();
    let mut subscription: Option<Interval> = None;
    let mut ticks = 0;
    loop {
        tokio::select! {
            read = stream.read_buf(&mut buffer) => if read? == 0 { return Ok(()) },
            pushed = pushes.changed() => {
                if pushed.is_err() {
                    return Ok(());
                }
                let number = *pushes.borrow_and_update();
                stream.write_all(&reply(Request { kind: Kind::Push, number, payload: Vec::new() })).await?;
                shared.pushed.fetch_add(1, Ordering::Relaxed);
            }
            () = next(&mut subscription) => {
                ticks += 1;
                let tick = Request { kind: Kind::Tick, number: ticks, payload: Vec::new() };
                stream.write_all(&reply(tick)).await?;
            }
        }
        while let Some(request) = Request::take(&mut buffer).map_err(|bad| std::io::Error::other(bad.0))? {
            let (kind, number, pace) = (request.kind, request.number, pace(&request.payload));
            stream.write_all(&reply(request)).await?;
            match kind {
                Kind::Download => download(stream, number, pace).await?,
                Kind::Subscribe => {
                    let every = Duration::from_millis(number.max(1));
                    subscription = Some(interval_at(Instant::now() + every, every));
                }
                _ => {}
            }
        }
    }
}

/// The next moment at which a subscriber is spoken to; never, where nobody subscribed.
async fn next(subscription: &mut Option<Interval>) {
    match subscription {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn pace(payload: &[u8]) -> u64 {
    payload.try_into().map_or(0, u64::from_be_bytes)
}

/// Streams whole 64 KiB pieces, `pace` bytes a second on average (0: unpaced), and what is left at the end.
async fn download(stream: &mut TcpStream, bytes: u64, pace: u64) -> std::io::Result<()> {
    const WORDS: u64 = 8192;
    let started = Instant::now();
    let mut sent = 0;
    while sent < bytes {
        let first = sent / 8;
        let piece: Vec<u8> = (first..first + WORDS).flat_map(download_word).collect();
        let length = (bytes - sent).min(piece.len() as u64);
        stream.write_all(&piece[..length as usize]).await?;
        sent += length;
        if pace > 0 {
            sleep_until(started + Duration::from_secs_f64(sent as f64 / pace as f64)).await;
        }
    }
    Ok(())
}
