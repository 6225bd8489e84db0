//! Requests, each on a connection of its own: a given number of them, or on and on while something happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::Semaphore;
use xlvs_tests::traffic::Runner;

use crate::http::{self, Session};
use crate::scene::SERVICE;

/// Longer than any answer takes, also on a busy machine: TCP's first two retransmissions (1 s, 3 s) fit in.
const PATIENCE: Duration = Duration::from_secs(4);
const AT_ONCE: usize = 32;
const WORKERS: usize = 4;
/// Between a worker's answer and its next request.
const PAUSE: Duration = Duration::from_millis(8);

/// One request and what came of it.
pub struct Asked {
    pub begun: Instant,
    pub ended: Instant,
    /// The server that answered, or the error.
    pub answer: Result<String>,
}

/// Makes `count` requests, a few at once, and counts the answers by server; any failure is an error.
pub fn spread(client: &Runner, count: usize) -> Result<BTreeMap<String, usize>> {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let (done, answers) = mpsc::channel();
    for _ in 0..count {
        let (permits, done) = (Arc::clone(&permits), done.clone());
        client.spawn(async move {
            let Ok(_permit) = permits.acquire().await else { return };
            let _nobody_waits = done.send(http::request(SERVICE, PATIENCE).await);
        });
    }
    drop(done);
    let mut servers = BTreeMap::new();
    let mut failures = Vec::new();
    for answer in answers {
        match answer {
            Ok(server) => *servers.entry(server).or_default() += 1,
            Err(error) => failures.push(error),
        }
    }
    if let Some(first) = failures.first() {
        bail!("{} of {count} requests failed, the first: {first:#}", failures.len());
    }
    Ok(servers)
}

/// Requests that go on until [`Load::stop`].
pub struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Load {
    pub fn start(client: &Runner) -> Self {
        let load = Self { stop: Arc::default(), asked: Arc::default() };
        for _ in 0..WORKERS {
            let (stop, asked) = (Arc::clone(&load.stop), Arc::clone(&load.asked));
            client.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let answer = http::request(SERVICE, PATIENCE).await;
                    let one = Asked { begun, ended: Instant::now(), answer };
                    asked.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        load
    }

    /// Waits until `server` answers a request begun after `since`; how long after that it ended.
    pub fn await_answer(&self, server: &str, since: Instant) -> Result<Duration> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let wanted = |one: &Asked| one.begun >= since && one.answer.as_ref().is_ok_and(|name| name == server);
        loop {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(first) = asked.iter().filter(|one| wanted(one)).map(|one| one.ended).min() {
                return Ok(first - since);
            }
            drop(asked);
            if Instant::now() > deadline {
                bail!("{server} got no request within 10 s");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it; all that was asked and answered.
    pub fn stop(self) -> Vec<Asked> {
        self.stop.store(true, Ordering::Relaxed);
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Opens `count` connections that stay open.
pub fn open_sessions(client: &Runner, count: usize) -> Result<Vec<Session>> {
    client.run(async move {
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            let opened = tokio::time::timeout(PATIENCE, Session::open(SERVICE)).await;
            sessions.push(opened.context("no answer in time")??);
        }
        Ok(sessions)
    })?
}

/// Asks again on each; those that answered, and from the server they began with, are handed back.
pub fn ask_again(client: &Runner, sessions: Vec<Session>) -> Result<Vec<Session>> {
    client.run(async move {
        let mut good = Vec::with_capacity(sessions.len());
        for mut session in sessions {
            let answer = tokio::time::timeout(PATIENCE, session.ask()).await;
            if matches!(answer, Ok(Ok(server)) if server == session.server()) {
                good.push(session);
            }
        }
        good
    })
}
