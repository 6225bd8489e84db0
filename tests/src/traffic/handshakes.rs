//! Short connections, one after the other or some at once: how many open, how fast, and at which server.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::{Semaphore, mpsc};

use super::runner::Runner;
use super::swarm::{ask_name, connect};
use crate::family::Family;
use crate::namespace::Namespace;
use crate::random::Random;

/// What to try.
#[derive(Clone, Debug)]
pub struct HandshakePlan {
    pub target: SocketAddr,
    pub attempts: usize,
    pub at_once: usize,
    /// Attempts a second; None tries as fast as `at_once` allows.
    pub rate: Option<f64>,
    /// Opened means: connected, and the server named, within this time.
    pub limit: Duration,
    /// Source ports drawn at random from this seed, without repetition; None leaves them to the kernel.
    pub port_seed: Option<u64>,
    /// Where they come from.
    pub source: IpAddr,
}

impl HandshakePlan {
    /// `attempts` from any address, 64 at once, each within 3 s.
    pub fn new(target: impl Into<SocketAddr>, attempts: usize) -> Self {
        let target = target.into();
        let source = Family::of(target.ip()).unspecified();
        Self {
            target,
            attempts,
            at_once: 64,
            rate: None,
            limit: Duration::from_secs(3),
            port_seed: None,
            source,
        }
    }
}

/// What came of the attempts.
#[derive(Clone, Debug, Default)]
pub struct HandshakeReport {
    pub tried: usize,
    /// Opened, by the server that answered.
    pub by_server: BTreeMap<String, usize>,
    /// Not opened, by reason.
    pub failures: BTreeMap<String, usize>,
    /// The slowest that opened.
    pub slowest: Duration,
}

impl HandshakeReport {
    pub fn opened(&self) -> usize {
        self.by_server.values().sum()
    }

    /// Opened among tried, 0 to 1.
    pub fn share(&self) -> f64 {
        self.opened() as f64 / self.tried.max(1) as f64
    }
}

impl fmt::Display for HandshakeReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tried, by_server, failures, slowest } = self;
        write!(
            formatter,
            "{} of {tried} opened, slowest {} ms, {by_server:?}",
            self.opened(),
            slowest.as_millis()
        )?;
        if !failures.is_empty() {
            write!(formatter, ", failures {failures:?}")?;
        }
        Ok(())
    }
}

/// Tries what `plan` says from `namespace`; each connection asks its server's name and closes.
pub fn handshakes(namespace: &Namespace, plan: &HandshakePlan) -> Result<HandshakeReport> {
    let runner = Runner::start(namespace)?;
    let plan = plan.clone();
    runner.run(async move {
        let permits = Arc::new(Semaphore::new(plan.at_once));
        let (results, mut collected) = mpsc::unbounded_channel();
        let mut ports =
            plan.port_seed.map(|seed| shuffled_ports(&mut Random::from_seed(seed)).into_iter().cycle());
        let started = tokio::time::Instant::now();
        for index in 0..plan.attempts {
            if let Some(rate) = plan.rate {
                tokio::time::sleep_until(started + Duration::from_secs_f64(index as f64 / rate)).await;
            }
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
            let port = ports.as_mut().and_then(Iterator::next).unwrap_or(0);
            let source = SocketAddr::new(plan.source, port);
            let (results, target, limit) = (results.clone(), plan.target, plan.limit);
            tokio::spawn(async move {
                let _permit = permit;
                let _collector_gone = results.send(attempt(target, source, limit).await);
            });
        }
        drop(results);
        let mut report = HandshakeReport::default();
        while let Some(result) = collected.recv().await {
            report.tried += 1;
            match result {
                Ok((server, took)) => {
                    *report.by_server.entry(server).or_default() += 1;
                    report.slowest = report.slowest.max(took);
                }
                Err(reason) => *report.failures.entry(reason).or_default() += 1,
            }
        }
        report
    })
}

async fn attempt(
    target: SocketAddr,
    source: SocketAddr,
    limit: Duration,
) -> Result<(String, Duration), String> {
    let started = Instant::now();
    let opening = async {
        let mut stream = connect(target, Some(source)).await?;
        ask_name(&mut stream, &mut Vec::new()).await
    };
    match tokio::time::timeout(limit, opening).await {
        Ok(Ok(server)) => Ok((server, started.elapsed())),
        Ok(Err(error)) => Err(error.root_cause().to_string()),
        Err(_) => Err(format!("nothing within {limit:?}")),
    }
}

/// Every port from 10,000 to 64,999 in random order (Fisher–Yates).
fn shuffled_ports(random: &mut Random) -> Vec<u16> {
    let mut ports: Vec<u16> = (10_000..65_000).collect();
    for last in (1..ports.len()).rev() {
        ports.swap(last, random.below(last as u64 + 1) as usize);
    }
    ports
}
