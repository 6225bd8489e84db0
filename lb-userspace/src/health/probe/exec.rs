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
            let (status, has_read) = tokio::select! {
                status = self.child.wait() => (status?, false),
                () = &mut reading => (self.child.wait().await?, true),
            };
            // It has ended, and from here on its number may become another's.
            self.id = None;
            if !has_read {
                let _ = tokio::time::timeout(LAST_WORDS, reading).await;
            }
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn run(script: &str, limit: Duration) -> Outcome {
        let command = ["/bin/sh", "-c", script].map(ToOwned::to_owned);
        let subject = Subject { service: "web".into(), server: "rs1".into() };
        let deadline = Deadline { at: tokio::time::Instant::now() + limit, allowed: limit };
        let target = "[2001:db8::21]:80".parse().expect("address");
        probe(target, &command, &subject, deadline).await.unwrap_or_else(|outcome| outcome)
    }

    #[tokio::test]
    async fn its_exit_decides_and_its_first_line_is_told() {
        let limit = Duration::from_secs(5);
        let passed = run("echo $XLVS_SERVICE $XLVS_SERVER $XLVS_ADDRESS $XLVS_PORT; echo more", limit).await;
        let told = "/bin/sh: exit status 0: \"web rs1 2001:db8::21 80\"";
        assert_eq!(passed, Outcome::Passed(told.into()));
        assert_eq!(run("exit 3", limit).await, Outcome::Failed("/bin/sh: exit status 3".into()));
        let killed = run("kill -9 $$", limit).await;
        assert!(matches!(&killed, Outcome::Failed(why) if why.contains("signal: 9")), "{killed:?}");
        let missing = Subject { service: String::new(), server: String::new() };
        let deadline = Deadline { at: tokio::time::Instant::now() + limit, allowed: limit };
        let outcome =
            probe("192.0.2.1:0".parse().expect("address"), &["/nowhere/x".into()], &missing, deadline).await;
        assert!(
            matches!(&outcome, Err(Outcome::Untested(why)) if why.contains("on this host")),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn what_it_leaves_running_holds_up_nothing_and_much_output_neither() {
        let began = Instant::now();
        let outcome = run("sleep 3 & exit 0", Duration::from_secs(2)).await;
        assert!(
            matches!(outcome, Outcome::Passed(_)) && began.elapsed() < Duration::from_secs(1),
            "{outcome:?}"
        );
        let much = run("head -c 1000000 /dev/zero", Duration::from_secs(5)).await;
        assert!(matches!(much, Outcome::Passed(_)), "{much:?}");
    }

    #[tokio::test]
    async fn all_of_its_group_dies_at_the_deadline() {
        let mark = format!("4{}", std::process::id());
        let outcome = run(&format!("sleep {mark} & sleep {mark}"), Duration::from_millis(200)).await;
        assert_eq!(outcome, Outcome::Failed("/bin/sh: no answer within 200ms".into()));
        let is_left = || {
            let processes = std::fs::read_dir("/proc").expect("procfs");
            let command = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
            let wanted = format!("sleep\0{mark}\0");
            processes.filter_map(|entry| command(entry.ok()?)).any(|its| its == wanted.as_bytes())
        };
        let until = Instant::now() + Duration::from_secs(2);
        while is_left() {
            assert!(Instant::now() < until, "a child outlived the probe");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
