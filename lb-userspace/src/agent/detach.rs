//! `xlvs up --detach`: the agent in a process and session of its own; this one waits until it is ready.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::options::{DownOptions, UpOptions};
use super::{down, preflight};
use crate::api::{Failure, FailureKind};
use crate::config::Model;
use crate::control::{Client, Report, Request};

/// Until the agent must be ready.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Starts the agent and waits for it.
///
/// # Errors
/// What the agent said when it ended early; [`FailureKind::TimedOut`] if it was not ready in time, in which case it is
/// ended and nothing is left attached.
pub fn start(options: &UpOptions, model: &Model) -> Result<(), Failure> {
    let log_path = model.agent.state_dir.join("xlvs.log");
    let mut child = spawn(options, model, &log_path)
        .map_err(|error| preflight::refused(format!("starting the agent's own process: {error}")))?;
    let client = Client::new(model.agent.socket.clone(), Duration::from_secs(2));
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            let said = tail(&log_path);
            return Err(preflight::refused(format!("the agent ended ({status}):\n{said}")));
        }
        if let Ok(Report::Status(report)) = client.call(&Request::Status)
            && report.ready
            && report.pid == child.id()
        {
            return Ok(());
        }
        sleep(LOOK_EVERY);
    }
    give_up(&mut child, model);
    let message =
        format!("the agent was not ready within {} s; its log is {}", LIMIT.as_secs(), log_path.display());
    Err(Failure::new(FailureKind::TimedOut, message))
}

fn spawn(options: &UpOptions, model: &Model, log_path: &PathBuf) -> std::io::Result<Child> {
    std::fs::create_dir_all(&model.agent.state_dir)?;
    let log = File::create(log_path)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("up").arg("-c").arg(std::path::absolute(&options.config)?);
    for interface in &options.ifaces {
        command.args(["--iface", interface]);
    }
    if let Some(netns) = &options.netns {
        command.arg("--netns").arg(netns);
    }
    if let Some(socket) = &options.socket {
        command.arg("--socket").arg(socket);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0).current_dir("/");
    command.spawn()
}

fn give_up(child: &mut Child, model: &Model) {
    let _ = child.kill();
    let _ = child.wait();
    let _ = down::down(&DownOptions {
        config: PathBuf::new(),
        socket: model.agent.socket.clone(),
        pin_dir: model.agent.pin_dir.clone(),
    });
}

/// The last lines of the agent's log.
fn tail(path: &PathBuf) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    };
    read().unwrap_or_default()
}
