//! A download whose every byte is checked, in the background of whatever else the test does.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::runner::Runner;
use super::swarm::connect;
use super::wire::{Garbled, Kind, Reply, Request, download_word};
use crate::namespace::Namespace;

/// A running download from an [`EchoServer`](super::EchoServer).
pub struct Download {
    received: Arc<AtomicU64>,
    result: mpsc::Receiver<Result<DownloadReport>>,
    _runner: Runner,
}

/// A download that arrived whole and unchanged.
#[derive(Clone, Debug)]
pub struct DownloadReport {
    pub server: String,
    pub bytes: u64,
    pub took: Duration,
    /// The longest time without any byte.
    pub longest_gap: Duration,
}

impl DownloadReport {
    /// 10⁶ bytes a second.
    pub fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for DownloadReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (megabytes, seconds) = (self.bytes as f64 / 1e6, self.took.as_secs_f64());
        let (rate, gap) = (self.megabytes_per_second(), self.longest_gap.as_millis());
        write!(
            formatter,
            "{megabytes:.0} MB from {} in {seconds:.2} s ({rate:.0} MB/s), longest gap {gap} ms",
            self.server
        )
    }
}

impl Download {
    /// Begins to fetch `bytes` from the server at `target`, at `pace` bytes a second (0: as fast as it goes).
    pub fn start(
        namespace: &Namespace,
        target: impl Into<SocketAddr>,
        bytes: u64,
        pace: u64,
    ) -> Result<Self> {
        let target = target.into();
        let runner = Runner::start(namespace)?;
        let received = Arc::new(AtomicU64::new(0));
        let (done, result) = mpsc::channel();
        let progress = Arc::clone(&received);
        runner.spawn(async move {
            let _nobody_waits = done.send(fetch(target, bytes, pace, &progress).await);
        });
        Ok(Self { received, result, _runner: runner })
    }

    /// Bytes received and checked so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits for the end, at most `limit`; an error when the download broke, stalled, or brought a wrong byte.
    pub fn finish(self, limit: Duration) -> Result<DownloadReport> {
        self.result
            .recv_timeout(limit)
            .map_err(|_| anyhow!("the download stands at {} bytes after {limit:?}", self.received()))?
    }
}

async fn fetch(target: SocketAddr, bytes: u64, pace: u64, progress: &AtomicU64) -> Result<DownloadReport> {
    let started = Instant::now();
    let mut stream = connect(target, None).await?;
    let request = Request { kind: Kind::Download, number: bytes, payload: pace.to_be_bytes().to_vec() };
    stream.write_all(&request.encode()).await.context("cannot ask for the download")?;
    let mut buffer = Vec::new();
    let server = loop {
        if let Some(reply) =
            Reply::take(&mut buffer).map_err(|Garbled(what)| anyhow!("instead of a download, {what}"))?
        {
            if reply.request.kind == Kind::Download {
                break reply.name;
            }
        } else if stream.read_buf(&mut buffer).await.context("no answer")? == 0 {
            bail!("closed before the download began");
        }
    };
    let mut received = 0_u64;
    let mut last = Instant::now();
    let mut longest_gap = Duration::ZERO;
    loop {
        let whole = buffer.len() - buffer.len() % 8;
        let ends = received + buffer.len() as u64 == bytes;
        let usable = if ends { buffer.len() } else { whole };
        for (index, word) in (received / 8..).zip(buffer[..usable].chunks(8)) {
            if word != &download_word(index)[..word.len()] {
                bail!("wrong bytes at offset {} of the download from {server}", index * 8);
            }
        }
        buffer.drain(..usable);
        received += usable as u64;
        progress.store(received, Ordering::Relaxed);
        if received == bytes {
            return Ok(DownloadReport { server, bytes, took: started.elapsed(), longest_gap });
        }
        buffer.reserve(1 << 18);
        if stream.read_buf(&mut buffer).await.with_context(|| format!("broke after {received} bytes"))? == 0 {
            bail!("{server} closed after {received} of {bytes} bytes");
        }
        longest_gap = longest_gap.max(last.elapsed());
        last = Instant::now();
    }
}
