//! A download that lasts as long as the story needs it, every byte of it checked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::AsyncReadExt as _;
use xlvs_tests::traffic::Runner;

use crate::http;
use crate::scene::{FILE, SERVICE};

/// A download under way: slow until it is [let go](Download::finish), so that it spans what happens meanwhile.
pub struct Download {
    shared: Arc<Shared>,
    result: mpsc::Receiver<Result<Report>>,
}

#[derive(Default)]
struct Shared {
    received: AtomicU64,
    let_go: AtomicBool,
}

/// A download that arrived whole and unchanged.
pub struct Report {
    pub server: String,
    pub bytes: u64,
    /// The longest time it waited for a byte before it was let go; then several are each other's queue.
    pub longest_wait: Duration,
}

impl Download {
    /// Begins at `pace` bytes a second.
    pub fn start(client: &Runner, pace: u64) -> Self {
        let shared = Arc::<Shared>::default();
        let (done, result) = mpsc::channel();
        let own = Arc::clone(&shared);
        client.spawn(async move {
            let _nobody_waits = done.send(fetch(pace, &own).await);
        });
        Self { shared, result }
    }

    /// Bytes received and checked.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Waits until it has at least `bytes`; an error when it breaks or takes too long.
    pub fn await_bytes(&self, bytes: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.received() < bytes {
            if let Ok(ended) = self.result.try_recv() {
                ended?;
                bail!("the download ended too early to be of use");
            }
            if Instant::now() > deadline {
                bail!("the download stands at {} bytes", self.received());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Lets it go at full speed from now on and waits for its end.
    pub fn finish(self) -> Result<Report> {
        self.shared.let_go.store(true, Ordering::Relaxed);
        let limit = Duration::from_secs(20);
        let ended = self.result.recv_timeout(limit);
        ended.map_err(|_| anyhow!("the download stands at {} bytes", self.received()))?
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, bytes, longest_wait } = self;
        let (megabytes, wait) = (bytes / 1_000_000, longest_wait.as_millis());
        write!(formatter, "{megabytes} MB from {server}, every byte right; longest wait for one {wait} ms")
    }
}

async fn fetch(pace: u64, shared: &Shared) -> Result<Report> {
    let (server, length, mut buffer, mut stream) = http::begin(SERVICE, "/big").await?;
    if length != FILE {
        bail!("{server} offers {length} bytes, not {FILE}");
    }
    let begun = Instant::now();
    let (mut received, mut longest_wait) = (0_u64, Duration::ZERO);
    loop {
        received += check(&mut buffer, received).with_context(|| format!("in the download from {server}"))?;
        shared.received.store(received, Ordering::Relaxed);
        if received == length {
            return Ok(Report { server, bytes: received, longest_wait });
        }
        let let_go = shared.let_go.load(Ordering::Relaxed);
        let due = begun + Duration::from_secs_f64(received as f64 / pace as f64);
        if !let_go && due > Instant::now() {
            // Not to `due` in one go: it may be let go any moment.
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        let asked = Instant::now();
        let mut piece = [0; 16 * 1024];
        let count = stream.read(&mut piece).await.with_context(|| format!("broke after {received} bytes"))?;
        if count == 0 {
            bail!("{server} closed after {received} of {length} bytes");
        }
        buffer.extend_from_slice(&piece[..count]);
        if !let_go {
            longest_wait = longest_wait.max(asked.elapsed());
        }
    }
}

/// Compares what came with the file (its words are their own numbers, see [`xlvs_tests::nginx`]) and takes the whole
/// words out of `buffer`; how many bytes those were.
fn check(buffer: &mut Vec<u8>, offset: u64) -> Result<u64> {
    let usable = buffer.len() - buffer.len() % 8;
    for (number, word) in (offset / 8..).zip(buffer[..usable].chunks(8)) {
        if word != number.to_be_bytes() {
            bail!("wrong bytes at offset {}", number * 8);
        }
    }
    buffer.drain(..usable);
    Ok(usable as u64)
}

const _: () = assert!(FILE.is_multiple_of(8), "the last word must be whole");

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn half_a_word_waits_for_its_other_half_and_a_wrong_one_is_seen() {
        let mut buffer: Vec<u8> = [3_u64, 4].iter().flat_map(|word| word.to_be_bytes()).collect();
        buffer.truncate(12);
        assert_eq!(check(&mut buffer, 24).unwrap(), 8);
        assert_eq!(buffer, [0; 4]);
        assert!(check(&mut 9_u64.to_be_bytes().to_vec(), 24).is_err());
    }
}
