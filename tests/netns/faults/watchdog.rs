//! A frozen agent is ended and replaced by whoever supervises it, as systemd does with `WatchdogSec=`; connections notice nothing.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::crowd::Crowd;
use crate::run::Run;
use crate::site::Site;

const CONNECTIONS: usize = 200;
/// The example's unit says ten seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// What systemd is to the agent: somebody who listens.
struct Supervisor(UnixDatagram);

impl Supervisor {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next word; none for as long as the watchdog waits.
    fn hear(&self) -> Option<String> {
        let mut word = [0; 256];
        let length = self.0.recv(&mut word).ok()?;
        Some(String::from_utf8_lossy(&word[..length]).trim().to_owned())
    }
}

#[test]
fn a_frozen_agent_is_found_and_replaced() {
    let site = Site::nat(3);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2]));
    let mut run = Run::start(&site);
    let crowd = Crowd::open(&site, site.target(), CONNECTIONS);
    run.kill();
    let path = site.installation.folder().join("notify");
    let supervisor = Supervisor::listen(&path);
    let start = |patience: Option<Duration>| {
        let mut command = site.installation.up_command().unwrap();
        command.env("NOTIFY_SOCKET", &path);
        command.envs(patience.map(|patience| ("WATCHDOG_USEC", patience.as_micros().to_string())));
        site.installation.up_by(&mut command).unwrap()
    };

    // Without a watchdog, it says that it has begun and no more.
    let agent = start(None);
    run.look();
    assert_eq!(supervisor.hear().as_deref(), Some("READY=1"));
    assert_eq!(supervisor.hear(), None);
    agent.kill().unwrap();

    let agent = start(Some(PATIENCE));
    run.look();
    assert_eq!(supervisor.hear().as_deref(), Some("READY=1"));
    for _ in 0..3 {
        assert_eq!(supervisor.hear().as_deref(), Some("WATCHDOG=1"));
    }
    agent.daemon().signal(Signal::SIGSTOP).unwrap();
    let frozen = Instant::now();
    // What was said before.
    while supervisor.hear().is_some() {
        assert!(frozen.elapsed() < 2 * PATIENCE, "it speaks, and is frozen");
    }
    crowd.survived("a frozen agent");
    agent.kill().unwrap();
    run.adopt(start(Some(PATIENCE)));
    assert_eq!(run.status()["data_path"]["adopted"], true);
    crowd.survived("its successor");
}
