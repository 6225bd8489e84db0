//! Whatever ends the process, nothing is left behind for long.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xlvs_tests::cleanup;
use xlvs_tests::daemon::Daemon;
use xlvs_tests::folder::Folder;
use xlvs_tests::topology::{Delivery, Layout, Plan, Topology};

#[test]
fn dropping_and_panicking_remove_everything() {
    let path = Topology::build(&Plan::new(Layout::TwoArm, Delivery::Nat, 1)).unwrap().director().path();
    assert!(!path.exists());
    let panicked = std::thread::spawn(|| {
        let topology = Topology::build(&Plan::new(Layout::OneArm, Delivery::Nat, 1)).unwrap();
        std::panic::panic_any(topology.director().path());
    });
    let path = panicked.join().unwrap_err().downcast::<PathBuf>().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_signal_removes_everything_and_ends_the_process() {
    let mut holder = Holder::start();
    assert!(holder.things.iter().all(|path| path.exists()), "{:?}", holder.things);
    holder.signal(Signal::SIGTERM);
    assert_eq!(holder.child.wait().unwrap().code(), Some(128 + Signal::SIGTERM as i32));
    assert!(holder.things.iter().all(|path| !path.exists()), "{:?}", holder.things);
}

#[test]
fn what_a_killed_process_left_the_next_one_removes() {
    let mut killed = Holder::start();
    assert!(killed.things.iter().all(|path| path.exists()), "{:?}", killed.things);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let _next = Holder::start();
    assert!(killed.things.iter().all(|path| !path.exists()), "{:?}", killed.things);
}

/// A process that builds a topology with a program in it and waits.
struct Holder {
    child: Child,
    /// What exists as long as it does.
    things: Vec<PathBuf>,
}

impl Holder {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "cleaning::hold_until_a_signal_comes", "--nocapture"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told =
            lines.map(Result::unwrap).find_map(|line| line.strip_prefix("holding ").map(str::to_owned));
        Self { child, things: told.unwrap().split(' ').map(PathBuf::from).collect() }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::SIGTERM);
            self.child.wait().unwrap();
        }
    }
}

#[test]
#[ignore = "the process that the tests above start and end"]
fn hold_until_a_signal_comes() {
    cleanup::on_signals();
    let topology = Topology::build(&Plan::new(Layout::TwoArm, Delivery::Nat, 1)).unwrap();
    // The other kind would outlive the signal.
    let folder = Folder::create("xlvs-rig-").unwrap();
    let mut sleep = topology.client().command("sleep").unwrap();
    let sleeper = Daemon::start("sleep", sleep.arg("600"), &folder.path().join("log")).unwrap();
    // Not the process's folder, which stays until somebody has waited for it.
    let program = format!("/proc/{}/exe", sleeper.pid());
    println!("\nholding {} {program}", topology.director().path().display());
    std::thread::sleep(Duration::from_secs(120));
}
