//! The program probe: it passes if it exits with 0.
//!
//! No shell reads the command. The program has no capability and can gain none, an environment of its own, nothing to read,
//! and is the head of a process group that is killed when the time is over.
#![expect(unsafe_code, reason = "what a child gives up between fork and exec can only be said in `pre_exec`")]

use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdout, Command};

use super::{Deadline, Outcome, udp};
use crate::health::spec::Subject;

/// What is kept of its output, for the reason.
const OUTPUT_LIMIT: u64 = 1024;
/// How long what is still in the pipe is waited for after its end.
const LAST_WORDS: Duration = Duration::from_millis(20);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) async fn probe(
    target: SocketAddr,
    command: &[String],
    subject: &Subject,
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Outcome::Untested("no program is given".into()));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("XLVS_SERVICE", &subject.service)
        .env("XLVS_SERVER", &subject.server)
        .env("XLVS_ADDRESS", target.ip().to_string())
        .env("XLVS_PORT", if target.port() == 0 { String::new() } else { target.port().to_string() })
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    // SAFETY: both are single system calls, which are allowed between fork and exec; nothing is allocated.
    unsafe { command.pre_exec(give_up_privileges) };
    // The director's fault, not the server's.
    let group = Group::start(&mut command)
        .map_err(|error| Outcome::Untested(format!("{program}: {} on this host", super::describe(&error))))?;
    let (status, said) = deadline.run(program, group.end()).await?;
    let said = said.split(|byte| *byte == b'\n').next().filter(|line| !line.is_empty());
    let said = said.map(|line| format!(": {}", udp::excerpt(line))).unwrap_or_default();
    Ok(match status.code() {
        Some(0) => Outcome::Passed(format!("{program}: exit status 0{said}")),
        Some(code) => Outcome::Failed(format!("{program}: exit status {code}{said}")),
        None => Outcome::Failed(format!("{program}: {status}{said}")),
    })
}

fn give_up_privileges() -> io::Result<()> {
    let none = CapabilitySet::empty();
    set_no_new_privs(true)?;
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// A program and what it has started: killed when dropped before its end.
struct Group {
    child: Child,
    /// `None` once it has ended.
    id: Option<Pid>,
}

impl Group {
    fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, id })
    }

    /// Its end, and the beginning of what it said. What it leaves running does not hold up the answer.
    async fn end(mut self) -> io::Result<(ExitStatus, Vec<u8>)> {
        let output = self.child.stdout.take();
        let mut said = Vec::new();
        let status = {
            let mut reading = std::pin::pin!(read(output, &mut said));
            let status = tokio::select! {
                status = self.child.wait() => status?,
                () = &mut reading => self.child.wait().await?,
            };
            // It has ended, and from here on its number may become another's.
            self.id = None;
            let _ = tokio::time::timeout(LAST_WORDS, reading).await;
            status
        };
        Ok((status, said))
    }
}

/// Keeps the beginning, and reads the rest as well, so that nobody waits for a reader.
async fn read(output: Option<ChildStdout>, said: &mut Vec<u8>) {
    let Some(mut output) = output else { return };
    let _ = (&mut output).take(OUTPUT_LIMIT).read_to_end(said).await;
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}
