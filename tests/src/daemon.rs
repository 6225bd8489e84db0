//! A program that runs beside the test: started, watched, and stopped by its own pid.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cleanup::{self, Undo};
use crate::tools;

/// A child process that ends with this value: SIGTERM, and SIGKILL when that did not help within two seconds.
pub struct Daemon {
    what: String,
    log: PathBuf,
    child: Arc<Mutex<Child>>,
    _undo: Undo,
}

const PATIENCE: Duration = Duration::from_secs(2);

impl Daemon {
    /// Starts `command` with both its outputs going to the file `log`, in a process group of its own: Ctrl-C on the
    /// terminal must not end it before its turn.
    pub fn start(what: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let errors = file.try_clone().context("cannot duplicate the log's descriptor")?;
        command.process_group(0).stdin(Stdio::null()).stdout(file).stderr(errors);
        let started = cleanup::making(|| {
            let child = Arc::new(Mutex::new(command.spawn()?));
            let doomed = Arc::clone(&child);
            std::io::Result::Ok((child, Undo::new(move || end(&mut lock(&doomed)))))
        });
        let (child, undo) =
            started.with_context(|| format!("cannot start {what}: {}", tools::display(command)))?;
        Ok(Self { what: what.to_owned(), log: log.to_owned(), child, _undo: undo })
    }

    /// Its process id; nsenter execs, so it is the program's own.
    pub fn pid(&self) -> u32 {
        lock(&self.child).id()
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.pid() as i32);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {} ({pid})", self.what))
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill_now(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        lock(&self.child).wait().with_context(|| format!("cannot wait for {}", self.what)).map(drop)
    }

    /// Its exit status once it has ended, None while it runs.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        lock(&self.child).try_wait().with_context(|| format!("cannot ask after {}", self.what))
    }

    /// Waits for the process to end by itself.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {limit:?}; it said:\n{}", self.what, self.said());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Repeats `ready` every 20 ms until it is true; fails at once when the process ends, and after `limit`.
    pub fn wait_until(&self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if ready() {
                return Ok(());
            }
            if let Some(status) = self.ended()? {
                bail!("{} ended with {status} before it was ready; it said:\n{}", self.what, self.said());
            }
            if Instant::now() >= deadline {
                bail!("{} was not ready within {limit:?}; it said:\n{}", self.what, self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All it printed so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(child: &mut Child) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let _already_gone = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _already_gone = child.kill();
    let _reaped = child.wait();
}
