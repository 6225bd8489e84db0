//! The two copies of the program that explain and capture, and how they come to be without anybody waiting for them.
//!
//! The kernel verifies each for seconds, and asks for privileges that the agent gives up before it serves. Privileges belong
//! to threads (capabilities(7)): a thread of their own keeps them, loads both once the agent has settled or somebody asks, and
//! is gone.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::oneshot;

use crate::api::{Failure, FailureKind};
use crate::dataplane::{Capturer, Explainer, MapSizes, Object, Pins};

/// An agent that has just begun has better things to do with the processor, and so have its neighbours.
const SETTLED: Duration = Duration::from_secs(10);

/// A copy of the program: on its way, which goes faster once it is asked for; there; or refused by the kernel.
#[derive(Debug)]
pub enum Copied<T> {
    Coming(oneshot::Receiver<T>, mpsc::Sender<()>),
    There(T),
    Refused,
}

/// Has both copies loaded beside what the caller goes on with. Their maps are open when this returns, so that pins which
/// the caller removes are not made again.
///
/// # Errors
/// If there is no thread to be had; a copy that the kernel does not take is logged.
pub fn load(object: &Object, sizes: &MapSizes, pins: &Pins) -> Result<(Copied<Explainer>, Copied<Capturer>)> {
    let (explainer, capturer) =
        (Explainer::loading(object, sizes, pins), Capturer::loading(object, sizes, pins));
    let (to_explain, explains) = oneshot::channel();
    let (to_capture, captures) = oneshot::channel();
    let (ask, asked) = mpsc::channel();
    let load = move || {
        match asked.recv_timeout(SETTLED) {
            Ok(()) => {}
            // Nobody waits: whoever serves goes first. In Linux, this is of the calling thread alone.
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = rustix::process::nice(19) {
                    tracing::debug!(
                        "the copies of the program are loaded with the priority of everybody: {error}"
                    );
                }
            }
            // The agent has ended.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        hand_over(explainer.and_then(|load| load()), to_explain, "'xlvs explain' will not answer");
        hand_over(capturer.and_then(|load| load()), to_capture, "'xlvs capture' will not work");
    };
    let thread = std::thread::Builder::new().name("copies".to_owned());
    thread.spawn(load).context("starting the thread that loads the copies of the program")?;
    Ok((Copied::Coming(explains, ask.clone()), Copied::Coming(captures, ask)))
}

fn hand_over<T>(copy: Result<T>, to: oneshot::Sender<T>, without: &str) {
    match copy {
        // Nobody takes it if the agent has ended meanwhile.
        Ok(copy) => drop(to.send(copy)),
        Err(error) => tracing::warn!("{without}: {error:#}"),
    }
}

impl<T> Copied<T> {
    /// Waits until the copy is there or refused.
    pub async fn settled(&mut self) {
        if let Self::Coming(coming, ask) = self {
            // If it is not heard, the copies are being loaded already.
            let _ = ask.send(());
            *self = coming.await.map_or(Self::Refused, Self::There);
        }
    }

    /// The copy. `name`: what it does.
    ///
    /// # Errors
    /// If the kernel did not take it, or has not yet.
    pub fn get(&mut self, name: &str) -> Result<&mut T, Failure> {
        let what = match self {
            Self::There(copy) => return Ok(copy),
            Self::Coming(..) => format!("the {name} copy of the program is still being loaded; ask again"),
            Self::Refused => {
                format!("the kernel did not take the {name} copy of the program; the agent's log says why")
            }
        };
        Err(Failure::new(FailureKind::Refused, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_early_waits_and_who_was_refused_is_told() {
        let (to, coming) = oneshot::channel();
        let (ask, asked) = mpsc::channel();
        let mut copy = Copied::Coming(coming, ask.clone());
        assert!(copy.get("explaining").unwrap_err().to_string().contains("ask again"));
        let thread = std::thread::spawn(move || {
            asked.recv().unwrap();
            hand_over(Ok(7), to, "");
        });
        copy.settled().await;
        assert_eq!(copy.get("explaining").ok(), Some(&mut 7));
        thread.join().unwrap();

        let (to, coming) = oneshot::channel::<u8>();
        let mut copy = Copied::Coming(coming, ask);
        hand_over(Err(anyhow::anyhow!("too complex")), to, "none");
        copy.settled().await;
        assert!(copy.get("explaining").unwrap_err().to_string().contains("did not take the explaining copy"));
    }
}
