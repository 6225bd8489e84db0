//! xlvs at work on a site, and its books: every frame that the program was given has exactly one verdict.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use xlvs_tests::accounting::{Meter, Mode, attachment};
use xlvs_tests::agent::Agent;

use crate::site::Site;

/// An attached data path. Dropping it settles the books, unless the test has failed already.
pub struct Run<'a> {
    site: &'a Site,
    meter: Meter<'a>,
    agent: Option<Agent>,
}

impl<'a> Run<'a> {
    /// `xlvs up` with the site's configuration, ready and in driver mode.
    pub fn start(site: &'a Site) -> Self {
        let mut run = Self { site, meter: meter(site), agent: None };
        run.up();
        run
    }

    /// A new agent.
    pub fn up(&mut self) {
        let agent = self.site.installation.up().unwrap();
        self.adopt(agent);
    }

    /// A new agent that brings another program.
    pub fn up_with_object(&mut self, object: &Path) {
        let agent = self.site.installation.up_with_object(object).unwrap();
        self.adopt(agent);
    }

    /// An agent that was started by other means, once it is ready.
    pub fn adopt(&mut self, agent: Agent) {
        self.agent = Some(agent);
        self.meter.look().unwrap();
        for interface in self.site.topology.director_devices() {
            let found = attachment(self.site.director(), interface).unwrap();
            let mode = found.unwrap_or_else(|| panic!("nothing is attached to {interface}")).mode;
            assert_eq!(mode, Mode::Native, "{interface}");
        }
        let status = self.status();
        assert_eq!(status["ready"], true, "{status}");
        for interface in status["interfaces"].as_array().unwrap() {
            assert_eq!(interface["mode"], "native", "{status}");
        }
    }

    /// Another program of the agent's is attached, and counts.
    pub fn look(&mut self) {
        self.meter.look().unwrap();
    }

    /// The running agent.
    pub fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.agent.take().unwrap().kill().unwrap();
    }

    /// Settles the books, `xlvs down`, and opens new books.
    pub fn down(&mut self) {
        self.settle();
        self.site.installation.ok(&["down"]).unwrap();
        self.agent = None;
        self.meter = meter(self.site);
    }

    /// The pinned arrays of programs: one while nothing is being exchanged.
    pub fn stages(&self) -> Vec<PathBuf> {
        let pins = fs::read_dir(self.site.installation.pins().join("stages")).unwrap();
        pins.map(|pin| pin.unwrap().path()).collect()
    }

    pub fn status(&self) -> Value {
        self.site.installation.status().unwrap()
    }

    /// The count of one verdict so far.
    pub fn verdict(&self, name: &str) -> u64 {
        let status = self.status();
        status["verdicts"][name].as_u64().unwrap_or_else(|| panic!("no verdict {name} in {status}"))
    }

    /// Waits until the frames rest for a moment, and compares the verdicts' sum with what the kernel counted. Where they
    /// never rest, because connections go on asking, the sum must lie between two of the kernel's counts, each time.
    pub fn settle(&mut self) {
        self.meter.look().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut always_between = true;
        loop {
            let before = self.meter.received().unwrap();
            let verdicts = self.site.installation.verdicts().unwrap();
            let received = self.meter.received().unwrap();
            if before == received && received == verdicts {
                println!("books: {received} frames, a verdict each");
                return;
            }
            always_between &= before < received && (before..=received).contains(&verdicts);
            if always_between && Instant::now() >= deadline {
                println!("books: {received} frames and more, a verdict each");
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the program was given {before} to {received} frames, the verdicts are {verdicts}"
            );
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.settle();
        } else if let Some(agent) = &self.agent {
            eprintln!("the agent said:\n{}", agent.daemon().said());
        }
    }
}

fn meter(site: &Site) -> Meter<'_> {
    Meter::start(site.director(), site.topology.director_devices()).unwrap()
}
