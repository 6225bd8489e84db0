//! One reload after the other with live connections: each different, and confirmed to be in force before the next.

use std::fs;
use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::length::short_or_long;
use crate::pinned::dump;
use crate::run::Run;
use crate::site::{Site, WEB, server, service};

const CONNECTIONS: usize = 200;
/// After so many, every name and port has been in force once: numbers that the first ones needed are taken.
const ROUND: usize = 40;
/// What an allocator may keep for itself; ten thousand reloads that leave a single page each would be forty times as much.
const SLACK_KIB: u64 = 1024;

/// For the agent to look twice at all connections and seats, a second each time.
const FREE_WITHIN: Duration = Duration::from_secs(20);

/// The configuration before the first reload, and after each: a server comes or goes, the service or a server is renamed, the
/// port of another service changes, each in turn; and a weight is always another one.
struct Walk {
    nth: usize,
    name: &'static str,
    alone: bool,
    renamed: bool,
    port: u16,
}

impl Walk {
    fn new() -> Self {
        Self { nth: 0, name: "web", alone: false, renamed: false, port: 8000 }
    }

    fn step(&mut self) {
        match self.nth % 4 {
            0 => self.alone = !self.alone,
            1 => self.name = if self.name == "web" { "shop" } else { "web" },
            2 => self.renamed = !self.renamed,
            _ => self.port = 8000 + (self.port + 1) % 10,
        }
        self.nth += 1;
    }

    fn weight(&self) -> u32 {
        1 + self.nth as u32 % 9
    }

    fn text(&self, site: &Site) -> String {
        let servers: &[(usize, u32)] =
            &[(0, self.weight()), (1, 2), (2, 3), (3, 1)][..if self.alone { 3 } else { 4 }];
        let mut web = site.web(servers);
        self.name.clone_into(&mut web.name);
        if self.renamed {
            "other".clone_into(&mut web.servers[1].name);
        }
        let mut api = site.web_of(&[0, 1]);
        "api".clone_into(&mut api.name);
        api.ports = self.port.to_string();
        format!("{web}{api}")
    }

    /// Reloads to the next configuration and fails unless the agent says of each thing that it is as it was asked for.
    fn go(&mut self, site: &Site) {
        self.step();
        site.reload(self.text(site));
        let status = site.installation.status().unwrap();
        let web = service(&status, self.name);
        let servers: Vec<(&str, u64)> = (web["servers"].as_array().unwrap().iter())
            .map(|server| (server["name"].as_str().unwrap(), server["weight"].as_u64().unwrap()))
            .collect();
        let second = if self.renamed { "other" } else { "rs2" };
        let all = [("rs1", u64::from(self.weight())), (second, 2), ("rs3", 3), ("rs4", 1)];
        assert_eq!(servers, all[..if self.alone { 3 } else { 4 }], "reload {}", self.nth);
        assert_eq!(service(&status, "api")["listeners"][0]["port"], self.port, "reload {}", self.nth);
        assert_eq!(status["config"]["generation"], self.nth + 1);
    }
}

/// What may not grow.
#[derive(Debug)]
struct Held {
    memory_kib: u64,
    descriptors: usize,
    pins: usize,
    /// Entries of maps with keys, and words that are not zero of those that services and servers lie in.
    entries: usize,
}

impl Held {
    fn by(site: &Site, run: &Run<'_>) -> Self {
        let process = format!("/proc/{}", run.agent().pid());
        // Checks and callers come and go; what stays is what there is at the quietest moment.
        let descriptors = (0..20).map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            fs::read_dir(format!("{process}/fd")).unwrap().count()
        });
        let descriptors = descriptors.min().unwrap_or(0);
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let dump = dump(&site.installation);
        let maps = ["LISTENERS", "BACKENDS", "LOCALS", "MEMBERS", "LISTS", "SERVICES", "SERVERS"];
        Self {
            memory_kib: memory.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors,
            pins: count(site.installation.pins()),
            entries: maps.iter().map(|map| dump[*map].len()).sum(),
        }
    }
}

/// Whether the copies of the program are on their way, which have descriptors of their own.
fn is_loading(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(Result::unwrap);
    let mut names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.any(|name| name.trim() == "copies")
}

fn count(folder: &std::path::Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

#[test]
fn reloads_in_a_row_break_nobody_and_leave_nothing_behind() {
    let site = Site::nat(4);
    let servers = site.serve_all();
    let mut walk = Walk::new();
    site.configure(walk.text(&site));
    let run = Run::start(&site);
    let mut crowd = Crowd::open(&site, WEB, CONNECTIONS);
    (0..ROUND).for_each(|_| walk.go(&site));
    let began = Instant::now();
    while is_loading(run.agent().pid()) {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "the copies of the program are still being loaded"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let before = Held::by(&site, &run);
    let (began, reloads) = (Instant::now(), short_or_long(40, 10_000) / ROUND * ROUND);
    for _ in 0..reloads {
        walk.go(&site);
        if walk.nth.is_multiple_of(1000) {
            crowd.unbroken(&format!("{} reloads", walk.nth));
        }
    }
    let took = began.elapsed();
    let mut after = Held::by(&site, &run);
    // A number of one that has left is free once two walks have found it nowhere; reloads may be faster.
    while after.entries > before.entries && began.elapsed() < took + FREE_WITHIN {
        after = Held::by(&site, &run);
    }
    println!("{reloads} reloads in {took:.1?}: {before:?}, then {after:?}");
    crowd.hear_the_servers(&servers);
    crowd.unbroken("all reloads");
    assert!(after.memory_kib <= before.memory_kib + SLACK_KIB, "{before:?}, {after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.pins, before.pins);
    assert!(after.entries <= before.entries, "{before:?}, {after:?}");
}

#[test]
fn without_a_flow_table_the_same_reloads_break_connections() {
    let site = Site::nat(4);
    let _servers = site.serve_all();
    let mut walk = Walk::new();
    let off = |text: String| format!("[datapath]\nflow_table_size = 0\n{text}");
    site.configure(off(walk.text(&site)));
    let _run = Run::start(&site);
    let crowd = Crowd::open(&site, WEB, CONNECTIONS);
    for _ in 0..3 {
        walk.step();
        site.reload(off(walk.text(&site)));
    }
    std::thread::sleep(Duration::from_secs(1));
    let [busy, idle] = crowd.broken("no flow table");
    assert!(busy + idle > CONNECTIONS / 10, "{busy} and {idle} of {CONNECTIONS} broke");
}

/// A file that watches over itself: what is written comes into force, what is wrong changes nothing, and nobody notices.
#[test]
fn a_file_that_is_watched_is_reloaded_once_it_stands_still() {
    let site = Site::nat(2);
    let _servers = site.serve_all();
    let watched = |weight: u32| format!("{}", site.web(&[(0, weight), (1, 1)]));
    let agent = "reload = \"watch\"\n";
    site.configure(format!("{agent}{}", watched(1)));
    let run = Run::start(&site);
    let crowd = Crowd::open(&site, WEB, CONNECTIONS);
    site.configure(format!("{agent}{}", watched(5)));
    let until = |what: &str, is_so: &dyn Fn(&serde_json::Value) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let status = run.status();
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{what}: {status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let status = until("another weight", &|status| server(status, "rs1")["weight"] == 5);
    assert_eq!(status["config"]["generation"], 2);
    site.configure(format!("{agent}{}\nnonsense", watched(7)));
    let status = until("nonsense", &|status| status["config"]["last_reload"]["ok"] == false);
    assert_eq!(server(&status, "rs1")["weight"], 5);
    // Not asked for again until it is written again; and asked for by hand, it is not read twice.
    site.configure(format!("{agent}{}", watched(2)));
    site.installation.ok(&["reload"]).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let status = run.status();
    assert_eq!((&status["config"]["generation"], &server(&status, "rs1")["weight"]), (&3.into(), &2.into()));
    crowd.survived("it was watched");
}
