//! How long a configuration of many services takes: to load, to reload with something changed, and to be asked about.
//!
//! A real agent in a namespace of its own. Its servers are all behind one gateway, whose neighbour entry stands: nobody is
//! waited for. Measured from the start of `xlvs …` to its end, which is when the data path picks by what was asked for.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use xlvs_tests::agent::Installation;
use xlvs_tests::namespace::{Group, Namespace};

use crate::progress::tell;
use crate::report::{Cell, Report, Section};
use crate::series::Series;

/// So many services with so many servers each.
#[derive(Clone, Copy)]
struct Size {
    services: u32,
    servers: u32,
}

/// What is done to an agent at work.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Change {
    Nothing,
    Weight,
    Server,
    Service,
    Drain,
    Status,
}

/// What the goals name, ms: the first load of everything, and one changed server.
const GOAL_LOAD: f64 = 2000.0;
const GOAL_CHANGE: f64 = 50.0;

pub fn run(quick: bool) -> Result<Report> {
    let sizes = [
        Size { services: 10, servers: 20 },
        Size { services: 100, servers: 20 },
        Size { services: 1000, servers: 20 },
    ];
    let rounds = if quick { 3 } else { 11 };
    let mut changes = Vec::new();
    let mut stages = Vec::new();
    for size in sizes {
        let subject = Subject::start(size)?;
        changes.push(subject.row(
            Cell::Text("first load".to_owned()),
            &subject.loaded,
            &subject.cpu,
            GOAL_LOAD,
        ));
        for change in Change::ALL {
            tell(&format!("{} × {}: {}", size.services, size.servers, change.name()));
            let (took, cpu) = subject.measure(change, rounds)?;
            changes.push(subject.row(Cell::Text(change.name().to_owned()), &took, &cpu, change.goal()));
        }
        stages.extend(subject.stages()?);
    }
    Ok(Report {
        bench: "reload",
        sections: vec![
            Section {
                title: "From the command's start to its end, and the agent's processor time within, ms"
                    .to_owned(),
                columns: vec![
                    "services",
                    "servers",
                    "what",
                    "median",
                    "minimum",
                    "of the agent",
                    "least",
                    "goal",
                ],
                rows: changes,
            },
            Section {
                title: "Where the agent's time goes in a reload, ms (median of all)".to_owned(),
                columns: vec!["services", "servers", "stage", "median", "minimum"],
                rows: stages,
            },
        ],
        remarks: vec![format!(
            "{rounds} rounds; health checks are off, no director is told, DR and NAT by turns."
        )],
    })
}

impl Change {
    const ALL: [Self; 6] =
        [Self::Nothing, Self::Weight, Self::Server, Self::Service, Self::Drain, Self::Status];

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "reload, nothing changed",
            Self::Weight => "reload, one weight",
            Self::Server => "reload, one server more or less",
            Self::Service => "reload, one service more or less",
            Self::Drain => "drain, enable",
            Self::Status => "status",
        }
    }

    const fn goal(self) -> f64 {
        match self {
            Self::Status => f64::NAN,
            _ => GOAL_CHANGE,
        }
    }
}

/// An agent with its configuration.
struct Subject {
    size: Size,
    loaded: Series,
    cpu: Series,
    // In this order: the agent, then what it stands on.
    agent: xlvs_tests::agent::Agent,
    installation: Installation,
    _director: Namespace,
}

impl Subject {
    fn start(size: Size) -> Result<Self> {
        tell(&format!("{} × {}: first load", size.services, size.servers));
        let director = Namespace::create(Group::next(), "lb")?;
        director.ip("link add lb0 type veth peer name lb1\nlink set lb0 up\nlink set lb1 up")?;
        director.ip("addr add 192.0.2.1/24 dev lb0\nroute add 10.0.0.0/8 via 192.0.2.2")?;
        director.ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev lb0 nud permanent")?;
        let installation = Installation::new(&director, &["lb0"], "log = \"debug\"")?;
        installation.configure(text(size, None))?;
        let (mut loaded, mut cpu) = (Series::default(), Series::default());
        let begun = Instant::now();
        let agent = installation.up()?;
        loaded.push(milliseconds(begun));
        cpu.push(processor_ms(agent.pid())?);
        Ok(Self { size, loaded, cpu, agent, installation, _director: director })
    }

    /// Wall time and the agent's processor time.
    fn measure(&self, change: Change, rounds: usize) -> Result<(Series, Series)> {
        let (mut took, mut cpu) = (Series::default(), Series::default());
        for round in 0..rounds {
            let is_changed = round % 2 == 0;
            let command: &[&str] = match change {
                Change::Drain if is_changed => &["drain", "s0", "rs0"],
                Change::Drain => &["enable", "s0", "rs0"],
                Change::Status => &["status", "-o", "json"],
                _ => &["reload"],
            };
            self.installation.configure(text(self.size, is_changed.then_some(change)))?;
            let before = processor_ms(self.agent.pid())?;
            let begun = Instant::now();
            self.installation.ok(command)?;
            took.push(milliseconds(begun));
            cpu.push(processor_ms(self.agent.pid())? - before);
        }
        // As it was, whatever the number of rounds.
        self.installation.configure(text(self.size, None))?;
        self.installation.reload()?;
        if change == Change::Drain {
            self.installation.ok(&["enable", "s0", "rs0"])?;
        }
        Ok((took, cpu))
    }

    fn row(&self, what: Cell, took: &Series, cpu: &Series, goal: f64) -> Vec<Cell> {
        let Size { services, servers } = self.size;
        let is_named = services == 1000;
        vec![
            Cell::Number(f64::from(services), 0),
            Cell::Number(f64::from(services * servers), 0),
            what,
            Cell::Number(took.median(), 1),
            Cell::Number(took.minimum(), 1),
            Cell::Number(cpu.median(), 1),
            Cell::Number(cpu.minimum(), 1),
            if is_named { Cell::Number(goal, 0) } else { Cell::Nothing },
        ]
    }

    /// As the agent's log tells it.
    fn stages(&self) -> Result<Vec<Vec<Cell>>> {
        let mut stages: Vec<(String, Series)> = Vec::new();
        for line in self.agent.daemon().said().lines() {
            let Some((_, told)) = line.split_once("reload: ") else { continue };
            let Some((stage, took)) = told.split_once(" took ") else { continue };
            let us: f64 =
                took.split(' ').next().unwrap_or_default().parse().context("a stage took a number")?;
            let index = stages.iter().position(|(name, _)| name == stage).unwrap_or_else(|| {
                stages.push((stage.to_owned(), Series::default()));
                stages.len() - 1
            });
            stages[index].1.push(us / 1000.0);
        }
        ensure!(!stages.is_empty(), "the agent's log has no stages of a reload");
        let Size { services, servers } = self.size;
        let row = |(name, took): (String, Series)| {
            vec![
                Cell::Number(f64::from(services), 0),
                Cell::Number(f64::from(services * servers), 0),
                Cell::Text(name),
                Cell::Number(took.median(), 2),
                Cell::Number(took.minimum(), 2),
            ]
        };
        Ok(stages.into_iter().map(row).collect())
    }
}

/// The services, with one thing changed.
fn text(size: Size, changed: Option<Change>) -> String {
    let services = size.services + u32::from(changed == Some(Change::Service));
    let mut text = "[datapath]\nserver_slots = 32768\n".to_owned();
    for service in 0..services {
        let vip = Ipv4Addr::from(0xc633_6400 + service);
        let mode = if service % 2 == 0 { "nat" } else { "dr" };
        let _ = write!(
            text,
            "[[service]]\nname = \"s{service}\"\nvip = \"{vip}\"\nport = 80\nmode = \"{mode}\"\nhealth = {{ kind = \"none\" }}\n"
        );
        let is_first = service == 0;
        let servers = size.servers + u32::from(is_first && changed == Some(Change::Server));
        for server in 0..servers {
            let address = Ipv4Addr::from(0x0a00_0000 + service * 64 + server);
            let weight = if is_first && server == 0 && changed == Some(Change::Weight) { 2 } else { 1 };
            let _ = write!(
                text,
                "[[service.server]]\nname = \"rs{server}\"\naddress = \"{address}\"\nweight = {weight}\n"
            );
        }
    }
    text
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

/// What this process has had of the processors, all its threads together.
fn processor_ms(pid: u32) -> Result<f64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).context("listing the agent's threads")?;
    let mut ns = 0.0;
    for task in tasks {
        let path = task?.path().join("schedstat");
        let told = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let on: f64 =
            told.split(' ').next().unwrap_or_default().parse().context("schedstat begins with a number")?;
        ns += on;
    }
    Ok(ns / 1e6)
}
