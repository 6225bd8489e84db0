//! `xlvs up`: from a configuration file to a data path that forwards and an agent that looks after it.
//!
//! Nothing is attached before everything that can be checked has been, and before every server has had its first health
//! result or its time-out. What fails before that leaves the host as it was.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use lb_common::ABI_VERSION;
use lb_common::entry::{About, Memo};
use lb_common::slot::Geometry;
use tokio::sync::mpsc;

use super::actor::{Agent, End, load, refused, unix_seconds};
use super::attachment::{self, Attachment};
use super::cluster::{Cluster, Inherited};
use super::desired;
use super::install::Installation;
use super::loads::Begun;
use super::options::UpOptions;
use super::silence::Silences;
use super::snapshot;
use super::standing::{self, AddressName};
use super::sweep::Sweep;
use super::vips::VipKeeper;
use super::watch::Watch;
use super::{copies, detach, down, key, membership, netns, pool, preflight, privileges, sizes, ways_back};
use crate::api::{Failure, FailureKind, InterfaceStatus, XdpMode};
use crate::config::{self, Family, LogLevel, Model, OnStop};
use crate::control::{ControlSocket, Inquiry, Limits, Server};
use crate::dataplane::{Attached, Mode, Object, Pins, Program};
use crate::health::{self, Scheduler};
use crate::net::{Link, Netlink, Tracker};

/// The longest wait for first health results and next hops before attaching.
const SETTLING: Duration = Duration::from_secs(10);

/// Time for the answer to the last request to leave.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Becomes the agent. Returns when it ends; with `detach`, once another process is the agent and ready.
///
/// # Errors
/// What was refused or failed. Nothing is attached that was not before.
pub fn up(options: UpOptions) -> Result<(), Failure> {
    let mut model = load(&options.config)?;
    for name in &options.ifaces {
        config::InterfaceName::parse(name)
            .map_err(|error| Failure::new(FailureKind::Usage, format!("--iface {name}: {error}")))?;
    }
    if let Some(socket) = &options.socket {
        model.agent.socket.clone_from(socket);
    }
    if options.detach {
        return detach::start(&options, &model);
    }
    log(model.agent.log);
    if let Some(netns) = &options.netns {
        netns::enter(netns).map_err(refused)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::new(FailureKind::Refused, format!("starting the agent's runtime: {error}"))
    })?;
    runtime.block_on(run(options, model))
}

async fn run(options: UpOptions, model: Model) -> Result<(), Failure> {
    let socket = ControlSocket::bind(&model.agent.socket)
        .map_err(|refusal| Failure::new(FailureKind::Refused, refusal.to_string()))?;
    let read = Watch::of(&options.config);
    let (mut agent, mut news, new_pins) = start(&options, model, read).await?;
    agent.check_targets();
    agent.settle(&mut news).await;
    if let Err(failure) = bring_into_force(&mut agent).await {
        agent.vips.withdraw().await;
        return Err(failure);
    }
    agent.begin_cluster().map_err(refused)?;
    new_pins.keep();
    let (inbox, inquiries) = mpsc::channel::<Inquiry>(64);
    let server = Server::new(socket, Limits::default()).map_err(|error| {
        Failure::new(FailureKind::Refused, format!("listening on the control socket: {error}"))
    })?;
    tokio::spawn(server.run(inbox));
    if let Err(error) = privileges::drop_all_but_needed() {
        tracing::warn!("keeping more privileges than needed: {error:#}");
    }
    // Not every start is by systemd.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(pid = std::process::id(), adopted = agent.adopted, "serving");
    let end = agent.serve(inquiries, news).await;
    agent.end_capture();
    agent.leave_cluster().await;
    match end.map_err(refused)? {
        End::Down => {
            tracing::info!("detached and unpinned");
            // The caller's answer is on its way through the socket's own task.
            tokio::time::sleep(LAST_WORDS).await;
        }
        End::Stopped if agent.model.agent.on_stop == OnStop::Detach => {
            agent.take_down().await?;
            tracing::info!("stopped; on_stop = \"detach\": detached and unpinned");
        }
        End::Stopped => {
            agent.keep_connections();
            tracing::info!(
                "stopped; the data path forwards on, without health checks. 'xlvs up' takes it over, 'xlvs down' ends it"
            );
        }
    }
    Ok(())
}

/// Everything up to the first change to the host, apart from pins that are new.
async fn start(
    options: &UpOptions,
    model: Model,
    read: Watch,
) -> Result<(Agent, mpsc::UnboundedReceiver<health::Event<AddressName>>, NewPins), Failure> {
    let trouble = |what: &str| {
        let what = what.to_owned();
        move |error: crate::net::NetError| Failure::new(FailureKind::Refused, format!("{what}: {error}"))
    };
    let netlink = Netlink::open().map_err(trouble("asking the kernel about the network"))?;
    let links = netlink.links().await.map_err(trouble("listing interfaces"))?;
    let addresses = netlink.addresses().await.map_err(trouble("listing addresses"))?;
    let names: Vec<String> = if options.ifaces.is_empty() {
        model.agent.interfaces.iter().map(|name| name.as_str().to_owned()).collect()
    } else {
        options.ifaces.clone()
    };
    let pins = Pins::lock(&model.agent.pin_dir, &model.agent.state_dir)
        .map_err(|error| Failure::new(FailureKind::Refused, error.to_string()))?;
    let new_pins = NewPins::of(&pins);
    let attachments = attachment::find(&names, &links, &pins.linked())?;
    attachment::keep_tags(&attachments, &links)?;
    preflight::lock_out(&model, &addresses, &links)?;
    preflight::means_of_checks(&model)?;
    let of_cluster = membership::key(&model)?;
    let named: Vec<Link> = attachments.iter().map(|attachment| attachment.named.clone()).collect();
    let mut warnings = preflight::warnings(&model, &addresses, &named);
    for hint in attachment::hints(&attachments) {
        tracing::info!("{hint}");
    }

    let object =
        Object::of_this_build().map_err(|error| Failure::new(FailureKind::Refused, error.to_string()))?;
    let sizes = sizes::of(&model);
    if pool::forget_other(&pins, &model.fullnat).map_err(refused)? {
        warnings.push(
            "[fullnat] differs from what the pins hold; the connections that were sent from there have ended"
                .to_owned(),
        );
    }
    let (mut program, mut maps) = Program::load(&object, &sizes, Some(&pins)).map_err(refused)?;
    let known = pins
        .check_abi(maps.about.only())
        .map_err(|error| Failure::new(FailureKind::Refused, error.to_string()))?;
    if !known {
        let secret = match of_cluster {
            Some(secret) => secret,
            None => key::load_or_make(&model.agent.state_dir).map_err(refused)?,
        };
        found(&maps, &secret, sizes.geometry);
    }
    pool::found(maps.pool.only(), &model.fullnat);
    let (snapshot, unfit) = snapshot::found(&model.agent.state_dir, &maps, !known);
    warnings.extend(unfit);
    let inherited = match &snapshot {
        _ if known => Inherited::Maps,
        Some(snapshot) => Inherited::Snapshot(snapshot.header.table),
        None => Inherited::Nobodys,
    };
    let mut cluster = Cluster::prepare(&model, &maps, inherited).await.map_err(refused)?;
    if known && !sizes::hold(&maps, &sizes) {
        warnings.push(
            "the pinned maps have other sizes than the file asks for (flow_table_size, client_addresses, server_slots, whether \
             there are peers); 'xlvs down' and \
             'xlvs up' make them anew"
                .to_owned(),
        );
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    // Before privileges go: loading needs more of them than running.
    let (explainer, capturer) = copies::load(&object, &sizes, &pins).map_err(refused)?;
    let log = program
        .logger()
        .inspect_err(|error| tracing::warn!("the data path's own log lines will not be seen: {error:#}"))
        .ok();
    let program_tag = program.tag().map_err(refused)?;
    let ways_back = ways_back::find(std::mem::take(&mut maps.unreached)).map_err(refused)?;
    let installation = Installation::of(maps, Instant::now());
    let mut standings = standing::prepared(&model, &standing::remembered(&model, &memos(&installation)));
    if let Some(cluster) = &mut cluster {
        cluster.recall(&mut standings);
    }

    let targets: BTreeSet<IpAddr> = standing::configured(&model).map(|it| it.address.ip()).collect();
    let (tracker, view) = Tracker::start(targets).await.map_err(trouble("watching routes and neighbours"))?;
    let wire = health::Wire::open(view.clone())
        .inspect_err(|error| {
            tracing::warn!("servers cannot be asked for their VIPs (via = \"vip\"): {error}");
        })
        .ok();
    let (scheduler, news) = Scheduler::start(health::Limits::default(), wire);
    let first = named.first().map_or(0, |link| link.index);
    let pairs = installation.maps.servers.all().len();
    let agent = Agent {
        node: model.node().map(|node| node.as_str().to_owned()).or_else(hostname),
        model,
        config_path: std::path::absolute(&options.config).unwrap_or_else(|_| options.config.clone()),
        started: SystemTime::now(),
        pins,
        installation,
        program,
        explainer,
        capturer,
        capture: None,
        captures: 0,
        log,
        program_tag,
        adopted: known,
        interfaces: attachments.iter().map(not_attached).collect(),
        warnings,
        trouble: None,
        last_reload: None,
        watch: read,
        standings,
        found: HashMap::new(),
        without_quorum: BTreeSet::new(),
        due: None,
        vips_are_due: false,
        heard: HashMap::new(),
        checks: scheduler,
        tracker,
        view,
        ways_back,
        vips: VipKeeper::new(netlink, first),
        sweep: Sweep::new(pairs),
        begun: Begun::default(),
        silences: Silences::default(),
        cluster,
        snapshot,
        leaving_since: HashMap::new(),
    };
    Ok((agent, news, new_pins))
}

/// Pins that were not there before: removed again unless everything came into force.
struct NewPins(Option<std::path::PathBuf>);

impl NewPins {
    fn of(pins: &Pins) -> Self {
        Self((!pins.map("ABOUT").exists()).then(|| pins.dir().to_owned()))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for NewPins {
    fn drop(&mut self) {
        if let Some(dir) = &self.0
            && let Err(error) = down::remove(dir)
        {
            tracing::error!("removing the new pins in {} again: {error}", dir.display());
        }
    }
}

impl Agent {
    /// Waits for each server's first health result or time-out, so that what is attached can forward at once.
    pub(super) async fn settle(&mut self, news: &mut mpsc::UnboundedReceiver<health::Event<AddressName>>) {
        let deadline = tokio::time::Instant::now() + SETTLING;
        while self.not_ready().iter().any(|reason| reason.starts_with("no health result")) {
            match tokio::time::timeout_at(deadline, news.recv()).await {
                Ok(Some(event)) => drop(self.hear(event)),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

impl Agent {
    /// Puts the program behind the hook of each device that a named interface is on.
    fn attach(&mut self, mode: Option<Mode>) -> Result<(), Failure> {
        let mut attached: HashMap<String, Attached> = HashMap::new();
        for interface in &mut self.interfaces {
            let InterfaceStatus { name, device, .. } = &*interface;
            if !attached.contains_key(device) {
                let outcome = self.program.attach(&self.pins, device, mode).map_err(refused)?;
                if outcome.mode == Mode::Generic {
                    tracing::warn!(
                        interface = name,
                        "GENERIC mode, many times slower than the driver's: {}",
                        outcome.reason.as_deref().unwrap_or("as configured")
                    );
                }
                attached.insert(device.clone(), outcome);
            }
            let outcome = &attached[device];
            interface.mode = Some(match outcome.mode {
                Mode::Native => XdpMode::Native,
                Mode::Generic => XdpMode::Generic,
            });
            interface.reason.clone_from(&outcome.reason);
        }
        Ok(())
    }
}

fn not_attached(Attachment { named, device, .. }: &Attachment) -> InterfaceStatus {
    InterfaceStatus {
        name: named.name.clone(),
        index: Some(named.index),
        device: device.name.clone(),
        mode: None,
        reason: None,
    }
}

/// Makes empty maps ours.
fn found(maps: &crate::dataplane::Maps, secret: &lb_common::identity::HashKey, geometry: Geometry) {
    maps.settings.only().found(secret, geometry);
    let about = maps.about.only();
    about.since.store(unix_seconds(SystemTime::now()));
    about.generation.store(1);
    about.netns.store(netns::own());
    about.abi.store(ABI_VERSION);
    // Last: from here on the pins are believed.
    about.magic.store(About::MAGIC);
}

/// Health and orders as the pins remember them, by name hash and family.
fn memos(installation: &Installation) -> HashMap<(u64, Family), Memo> {
    let mut memos = HashMap::new();
    for (id, pair) in installation.ledger.pairs() {
        let Some(server) = installation.maps.servers.get(id.index()) else { continue };
        let memo = Memo::from_word(server.memo.load());
        let name = (pair.identity.name_hash, Family::of(pair.identity.address.into()));
        // One that is leaving speaks only if nobody else of its name does.
        if pair.leaving {
            memos.entry(name).or_insert(memo);
        } else {
            memos.insert(name, memo);
        }
    }
    memos
}

/// Maps first, then the program behind the interfaces' hooks, then the VIPs.
async fn bring_into_force(agent: &mut Agent) -> Result<(), Failure> {
    agent.judge_quorums();
    let wanted = agent.wanted();
    agent.find_ways(&wanted).await;
    let plan = agent.installation.plan(&wanted).map_err(refused)?;
    let limits = desired::limits(&agent.model.datapath.timeouts);
    agent.installation.write_settings(limits, &agent.model.datapath);
    agent.beat();
    agent.installation.apply(plan, &wanted, Instant::now()).map_err(refused)?;
    agent.look_ahead(&wanted);
    if let Some(snapshot) = &agent.snapshot {
        agent.restore_connections(snapshot, &wanted);
    }
    agent.rename_cluster(&wanted);
    // The ways to those as well that only stand by.
    agent.watch_targets();
    agent.look_at_network();
    let mode = match agent.model.agent.xdp_mode {
        config::XdpMode::Auto => None,
        config::XdpMode::Native => Some(Mode::Native),
        config::XdpMode::Generic => Some(Mode::Generic),
    };
    agent.program.outlive(&agent.pins).map_err(refused)?;
    agent.attach(mode)?;
    agent.program.supersede(&agent.pins).map_err(refused)?;
    let addresses = agent.view.borrow().addresses.clone();
    let pool = agent.installation.pool();
    let circumstances = agent.circumstances();
    agent.vips.keep(&agent.model.clone(), &circumstances, &pool, &addresses).await;
    agent.forget_snapshot();
    Ok(())
}

fn hostname() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().map(ToOwned::to_owned)
}

fn log(level: LogLevel) {
    let level = match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
