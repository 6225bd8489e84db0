//! xlvs itself: an installation of its own for each test, its agent, and its command line.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use serde_json::Value;

use crate::cleanup::Undo;
use crate::daemon::Daemon;
use crate::folder::Folder;
use crate::namespace::Namespace;
use crate::pace;
use crate::tools;

/// Names the binary under test; without it, `target/release/xlvs` of this workspace.
pub const BINARY_VARIABLE: &str = "XLVS_BIN";

const BPFFS: &str = "/sys/fs/bpf";
const PINS: &str = "xlvs-test-";

/// How long an agent may take until it is ready: the kernel verifies its programs.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A place where xlvs lives: pins, socket, state and configuration that no other installation shares.
///
/// Dropping it detaches the data path (`xlvs down`) and removes all of it. An [`Agent`] must be dropped before.
pub struct Installation {
    netns: String,
    interfaces: String,
    settings: String,
    folder: PathBuf,
    pins: PathBuf,
    // In this order: first down and the pins, then the folder with the configuration that `down` reads.
    _down: Undo,
    _folder: Folder,
}

/// What a run of the command line came to.
#[derive(Clone, Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Installation {
    /// An installation for the interfaces of `director`. `settings` are more lines of the `[agent]` table.
    pub fn new(director: &Namespace, interfaces: &[&str], settings: &str) -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        mount_bpffs()?;
        SWEEP.call_once(remove_pins_of_dead_processes);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let pins = Path::new(BPFFS).join(format!("{PINS}{}-{number}", std::process::id()));
        let folder = Folder::create("xlvs-test-")?;
        let path = folder.path().to_owned();
        let undo = {
            let (pins, netns) = (pins.clone(), director.name().to_owned());
            let config = path.join("xlvs.toml");
            Undo::new(move || take_down(&config, &netns, &pins))
        };
        let quoted: Vec<String> = interfaces.iter().map(|interface| format!("\"{interface}\"")).collect();
        let installation = Self {
            netns: director.name().to_owned(),
            interfaces: quoted.join(", "),
            settings: settings.to_owned(),
            folder: path,
            pins,
            _down: undo,
            _folder: folder,
        };
        installation.configure("")?;
        Ok(installation)
    }

    /// Writes the configuration: our `[agent]` table and then `rest`.
    pub fn configure(&self, rest: impl std::fmt::Display) -> Result<()> {
        let Self { interfaces, settings, .. } = self;
        let (pins, socket, state) = (self.pins.display(), self.socket(), self.folder.join("state"));
        let text = format!(
            "[agent]\ninterfaces = [{interfaces}]\npin_dir = \"{pins}\"\nsocket = \"{}\"\nstate_dir = \"{}\"\n{settings}\n{rest}",
            socket.display(),
            state.display()
        );
        fs::write(self.config(), text).with_context(|| format!("cannot write {}", self.config().display()))
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("xlvs.toml")
    }

    /// The agent's control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Where the data path is pinned.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// The folder of configuration, socket, state and logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts `xlvs up` and returns when it is ready; the error has all it said.
    pub fn up(&self) -> Result<Agent> {
        self.wait_ready(self.up_unready()?)
    }

    /// [`Installation::up`] with another eBPF object than the one inside the binary.
    pub fn up_with_object(&self, object: &Path) -> Result<Agent> {
        let mut command = self.up_command()?;
        command.env("XLVS_OBJECT", object);
        self.wait_ready(self.start(&mut command)?)
    }

    /// [`Installation::up`] by a command of [`Installation::up_command`] that was added to.
    pub fn up_by(&self, command: &mut Command) -> Result<Agent> {
        self.wait_ready(self.start(command)?)
    }

    /// Starts `xlvs up` and does not wait.
    pub fn up_unready(&self) -> Result<Agent> {
        self.start(&mut self.up_command()?)
    }

    /// `xlvs up` in the director, not started yet.
    pub fn up_command(&self) -> Result<Command> {
        self.command(&["up", "--netns", &self.netns])
    }

    fn start(&self, command: &mut Command) -> Result<Agent> {
        static LOGS: AtomicU32 = AtomicU32::new(0);
        let log = self.folder.join(format!("agent-{}.log", LOGS.fetch_add(1, Ordering::Relaxed)));
        Ok(Agent { daemon: Daemon::start("xlvs up", command, &log)? })
    }

    fn wait_ready(&self, agent: Agent) -> Result<Agent> {
        agent.daemon.wait_until(pace::limit(READY_WITHIN), || {
            self.run(&["status", "--ready"]).is_ok_and(|said| said.code == 0)
        })?;
        Ok(agent)
    }

    /// Runs `xlvs ARGS` for this installation and returns whatever came of it.
    pub fn run(&self, args: &[&str]) -> Result<Said> {
        let mut command = self.command(args)?;
        let output = command.stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot start {}", tools::display(&command)))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        // A signal has no code; 128 + signal is what a shell would say, -1 here.
        let code = output.status.code().unwrap_or(-1);
        Ok(Said { code, stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// Runs `xlvs ARGS`, demands exit 0, and returns its standard output.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        let said = self.run(args)?;
        if said.code != 0 {
            bail!("xlvs {} exited with {}: {}{}", args.join(" "), said.code, said.stdout, said.stderr);
        }
        Ok(said.stdout)
    }

    /// Runs `xlvs ARGS -o json`, demands exit 0 and one object with schema 1, and returns it.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.ok(&[args, &["-o", "json"]].concat())?;
        let value: Value = serde_json::from_str(&text)
            .with_context(|| format!("xlvs {} -o json printed no JSON: {text}", args.join(" ")))?;
        if value["schema"] != 1 {
            bail!("xlvs {} -o json has no \"schema\": 1: {text}", args.join(" "));
        }
        Ok(value)
    }

    /// `xlvs reload`.
    pub fn reload(&self) -> Result<()> {
        self.ok(&["reload"]).map(drop)
    }

    /// `xlvs status -o json`.
    pub fn status(&self) -> Result<Value> {
        self.json(&["status"])
    }

    /// The sum of all verdicts in `status`: the packets xlvs says it received.
    pub fn verdicts(&self) -> Result<u64> {
        let status = self.status()?;
        let verdicts = status["verdicts"].as_object().context("status has no verdicts")?;
        verdicts
            .iter()
            .map(|(name, count)| count.as_u64().with_context(|| format!("verdict {name} is {count}")))
            .sum()
    }

    /// `xlvs ARGS` for this installation, not started yet.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary()?);
        command.args(args).env("XLVS_CONFIG", self.config()).env_remove("XLVS_SOCKET");
        Ok(command)
    }
}

/// A running `xlvs up`; dropped with SIGTERM, which leaves the data path forwarding.
pub struct Agent {
    daemon: Daemon,
}

impl Agent {
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// `kill -9`.
    pub fn kill(self) -> Result<()> {
        self.daemon.kill_now()
    }

    /// The process, for signals and for what it said.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }
}

/// The binary under test.
pub fn binary() -> Result<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/xlvs");
    let path = env::var_os(BINARY_VARIABLE).map_or(built, PathBuf::from);
    if !path.is_file() {
        bail!("no binary at {}: run `cargo xtask build`, or name one in ${BINARY_VARIABLE}", path.display());
    }
    Ok(path)
}

/// Mounts the BPF file system where everyone looks for it, unless it is there.
pub fn mount_bpffs() -> Result<()> {
    let there = statfs(BPFFS).with_context(|| format!("no folder {BPFFS}: this kernel has no BPF"))?;
    if there.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount bpffs at {BPFFS}; it needs root"))
}

/// `xlvs down`, then whatever pins it left; runs while unwinding, so it only warns.
fn take_down(config: &Path, netns: &str, pins: &Path) {
    if !pins.exists() {
        return;
    }
    let down = binary().and_then(|binary| {
        tools::output(Command::new(binary).arg("down").env("XLVS_CONFIG", config).env_remove("XLVS_SOCKET"))
    });
    if let Err(error) = down {
        eprintln!("warning: in {netns}: {error:#}");
    }
    remove_pins(pins);
}

/// Removing the last reference to a link detaches it.
fn remove_pins(pins: &Path) {
    match fs::remove_dir_all(pins) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            eprintln!("warning: {} is left behind: {error}", pins.display());
        }
        _ => {}
    }
}

fn remove_pins_of_dead_processes() {
    let Ok(entries) = fs::read_dir(BPFFS) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PINS).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove_pins(&entry.path());
        }
    }
}
