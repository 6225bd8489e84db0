//! One network namespace: created under a name no other process uses, entered, and removed with all that runs in it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cleanup::{self, Undo};
use crate::family::Family;
use crate::tools;

const FOLDER: &str = "/run/netns";
const PREFIX: &str = "xlvs";

/// A namespace that lives as long as this value. Its name is `xlvs-PID-COUNTER-ROLE`.
pub struct Namespace {
    name: String,
    _undo: Undo,
}

/// Groups the namespaces of one topology under one number.
#[derive(Clone, Copy)]
pub struct Group(u32);

impl Group {
    /// A number no other group of this process has.
    pub fn next() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        Self(COUNTER.fetch_add(1, Ordering::Relaxed))
    }
}

impl Namespace {
    /// Creates the namespace with `lo` up, IPv6 off and nothing else in it.
    pub fn create(group: Group, role: &str) -> Result<Self> {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(remove_those_of_dead_processes);
        let name = format!("{PREFIX}-{}-{}-{role}", std::process::id(), group.0);
        let mut add = tools::command("ip")?;
        add.args(["netns", "add", &name]);
        let gone = name.clone();
        let undo = cleanup::making(|| {
            tools::output(&mut add)?;
            anyhow::Ok(Undo::new(move || remove(&gone)))
        })
        .with_context(|| format!("cannot create namespace {name}; namespaces need root"))?;
        let namespace = Self { name, _undo: undo };
        // Router solicitations and MLD reports would be packets nobody sent: the sums must come out even.
        namespace.sysctl(&[
            ("net/ipv6/conf/all/disable_ipv6", "1"),
            ("net/ipv6/conf/default/disable_ipv6", "1"),
        ])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Switches IPv6 on, for the interfaces that are added from now on. They are silent: no solicitation of routers, no
    /// search for duplicates, a few MLD reports and then no more; and they have no address but those they are given.
    pub fn speak_ipv6(&self) -> Result<()> {
        for scope in ["all", "default"] {
            let settings = [
                ("disable_ipv6", "0"),
                ("accept_ra", "0"),
                ("router_solicitations", "0"),
                ("accept_dad", "0"),
                ("addr_gen_mode", "1"),
                ("accept_redirects", "0"),
                ("mldv2_unsolicited_report_interval", "1"),
            ];
            let settings = settings.map(|(name, value)| (format!("net/ipv6/conf/{scope}/{name}"), value));
            self.sysctl(&settings.each_ref().map(|(path, value)| (path.as_str(), *value)))?;
        }
        Ok(())
    }

    /// The name under which `ip -n` and `xlvs up --netns` know it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that `nsenter --net=` and setns(2) take.
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// Ends all that runs in it and deletes it now: a machine that is no more.
    pub fn delete(&self) -> Result<()> {
        remove(&self.name);
        if self.path().exists() {
            bail!("namespace {} is still there", self.name);
        }
        Ok(())
    }

    /// Moves the calling thread into the namespace for good: only for threads that end with their work.
    pub fn join(&self) -> Result<()> {
        Self::join_path(&self.path())
    }

    /// [`Namespace::join`] for a thread that outlives its borrow of the namespace.
    pub(crate) fn join_path(path: &Path) -> Result<()> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter namespace {}", path.display()))
    }

    /// Runs `work` on a thread of its own inside the namespace and hands back what it returns.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.join()?;
                Ok(work())
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command that will run `program` (see [`tools::find`]) inside the namespace.
    ///
    /// By nsenter, not by `ip netns exec`, which remounts /sys and hides the pinned maps, nor by `ip -n`, which cannot do
    /// it where / is no mount point, as in a plain chroot.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(tools::find(program)?);
        Ok(command)
    }

    /// Runs lines of `ip` commands (without the leading `ip`) in one go; the first that fails is named. Where a line names
    /// no address, it means IPv4.
    pub fn ip(&self, lines: &str) -> Result<()> {
        self.batch(&[], lines)
    }

    /// The same for lines that name no address, such as the flushing of routes.
    pub fn ip_of(&self, family: Family, lines: &str) -> Result<()> {
        self.batch(&[family.flag()], lines)
    }

    fn batch(&self, flags: &[&str], lines: &str) -> Result<()> {
        let mut command = self.command("ip")?;
        command.args(flags).args(["-batch", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start ip; install iproute2")?;
        let mut stdin = child.stdin.take().ok_or_else(|| anyhow!("ip has no standard input"))?;
        stdin.write_all(lines.as_bytes()).context("cannot write to ip")?;
        drop(stdin);
        let output = child.wait_with_output().context("cannot wait for ip")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("ip in {} refused: {}\nin:\n{lines}", self.name, said.trim());
        }
        Ok(())
    }

    /// What `ip -j ARGS` prints, parsed.
    pub fn ip_json(&self, args: &[&str]) -> Result<Value> {
        let mut command = self.command("ip")?;
        command.args(["-d", "-j"]).args(args);
        let text = tools::output(&mut command)?;
        serde_json::from_str(&text).with_context(|| format!("{} printed no JSON", tools::display(&command)))
    }

    /// Writes sysctls, given as paths below /proc/sys.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            for (key, value) in settings {
                let path = Path::new("/proc/sys").join(key);
                fs::write(&path, value)
                    .with_context(|| format!("cannot set {key} = {value} in namespace {}", self.name))?;
            }
            Ok(())
        })?
    }

    /// One counter of the namespace's TCP, UDP or IP statistics by its name in /proc/net/snmp, netstat or snmp6, such as
    /// `("Tcp", "InCsumErrors")` (of both families) or `("Udp6", "InCsumErrors")`.
    pub fn counter(&self, protocol: &str, name: &str) -> Result<u64> {
        self.enter(|| {
            // `/proc/net` is the main thread's; this thread's own view is under thread-self.
            for file in ["snmp", "netstat"] {
                let path = format!("/proc/thread-self/net/{file}");
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
                if let Some(value) = counter_in(&text, protocol, name) {
                    return Ok(value);
                }
            }
            let path = "/proc/thread-self/net/snmp6";
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
            counter6_in(&text, protocol, name)
                .with_context(|| format!("the kernel has no counter {protocol}:{name}"))
        })?
    }
}

/// These files come in pairs of lines: `Tcp: InSegs OutSegs …` and `Tcp: 12 13 …`.
fn counter_in(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.split(':').next() == Some(protocol));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.find(|(column, _)| *column == name)?.1.parse().ok()
}

/// Here each has a line of its own: `Udp6InCsumErrors  0`.
fn counter6_in(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let value = |line: &str| {
        let value = line.strip_prefix(protocol)?.strip_prefix(name)?;
        // What follows is blank, or the name is only the beginning of another.
        value.starts_with(char::is_whitespace).then(|| value.trim().parse().ok())?
    };
    text.lines().find_map(value)
}

/// Ends what still runs in the namespace, then deletes it; nothing here may fail loudly, it runs while unwinding.
fn remove(name: &str) {
    if !Path::new(FOLDER).join(name).exists() {
        return;
    }
    let Ok(mut list) = tools::command("ip") else { return };
    if let Ok(pids) = tools::output(list.args(["netns", "pids", name])) {
        for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            if pid != std::process::id() as i32 {
                let _already_gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
    let Ok(mut delete) = tools::command("ip") else { return };
    if let Err(error) = tools::output(delete.args(["netns", "delete", name])) {
        eprintln!("warning: namespace {name} is left behind: {error:#}");
    }
}

/// A rig that was killed with SIGKILL could not tidy up; whoever comes next does it.
fn remove_those_of_dead_processes() {
    let Ok(entries) = fs::read_dir(FOLDER) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(owner) = owner(&name) else { continue };
        if !Path::new("/proc").join(owner.to_string()).exists() {
            remove(&name);
        }
    }
}

fn owner(name: &str) -> Option<u32> {
    let mut parts = name.split('-');
    (parts.next()? == PREFIX).then(|| parts.next()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_have_an_owner() {
        assert_eq!(owner("xlvs-4711-0-client"), Some(4711));
        assert_eq!(owner("xlvs-demo"), None);
        assert_eq!(owner("docker-4711-0"), None);
    }

    #[test]
    fn counters_are_read_by_column() {
        let text = "Ip: Forwarding InReceives\nIp: 2 10\nTcp: InSegs InCsumErrors\nTcp: 7 3\n";
        assert_eq!(counter_in(text, "Tcp", "InCsumErrors"), Some(3));
        assert_eq!(counter_in(text, "Ip", "InReceives"), Some(10));
        assert_eq!(counter_in(text, "Udp", "InErrors"), None);
        let text = "Ip6InReceives  \t12\nUdp6InErrorsOfAKind 5\nUdp6InErrors  \t3\n";
        assert_eq!(counter6_in(text, "Udp6", "InErrors"), Some(3));
        assert_eq!(counter6_in(text, "Udp6", "In"), None);
    }
}
