//! The agent at work: one owner of the maps, told of everything by channels, bringing the maps to what is desired.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use lb_common::slot::Limits;
use tokio::sync::{mpsc, oneshot, watch};

use super::affinity;
use super::capture::Capture;
use super::cluster::{self, Cluster, Findings, Found};
use super::copies::Copied;
use super::desired::{self, DesiredService};
use super::eligible::{self, Circumstances};
use super::heard::{self, Heard};
use super::install::Installation;
use super::lists::is_denied;
use super::loads::{self, Begun};
use super::membership;
use super::ports;
use super::preflight;
use super::replicas::Told;
use super::silence::Silences;
use super::snapshot::Snapshot;
use super::stages::Stages;
use super::standing::{self, AddressName, Advised, PairName, Standings};
use super::sweep::{Census, Sweep, SweepLimits, count_now};
use super::vips::VipKeeper;
use super::watch::Watch;
use super::watchdog;
use super::ways_back;
use crate::api::{Failure, FailureKind, InterfaceStatus, LastReload, ReloadReport, Schema, time_of};
use crate::config::{self, Model};
use crate::control::{Inquiry, Report, Request, Response};
use crate::dataplane::{Capturer, DataPathLog, Explainer, Maps, Pins, Program};
use crate::health::{self, Said, Scheduler};
use crate::net::{Link, Tracker, View};

/// The longest wait for the next hop of a server that is about to be used. A neighbour that lives answers in a fraction.
const WAY_FOUND_WITHIN: Duration = Duration::from_secs(1);

/// Larger tables are not counted anew for each question; their last complete walk answers.
const COUNT_AT_ONCE: usize = 1 << 18;

/// Rounds of the walk over connections, for each one over a large table of seats.
const LARGE_SEATS_EVERY: u64 = 32;

/// Everything the agent holds.
pub struct Agent {
    pub(super) model: Model,
    pub(super) config_path: PathBuf,
    pub(super) node: Option<String>,
    pub(super) started: SystemTime,
    pub(super) pins: Pins,
    pub(super) installation: Installation,
    /// Held so that the program's log map and the maps' handles live as long as the agent.
    pub(super) program: Program,
    pub(super) explainer: Copied<Explainer>,
    pub(super) capturer: Copied<Capturer>,
    /// The capture that is under way, and how many there have been.
    pub(super) capture: Option<Capture>,
    pub(super) captures: u64,
    /// Where the data path's rare lines come out.
    pub(super) log: Option<DataPathLog>,
    pub(super) program_tag: String,
    pub(super) adopted: bool,
    pub(super) interfaces: Vec<InterfaceStatus>,
    pub(super) warnings: Vec<String>,
    pub(super) trouble: Option<String>,
    pub(super) last_reload: Option<LastReload>,
    pub(super) watch: Watch,
    pub(super) standings: Standings,
    /// What its own checks say, whoever leads.
    pub(super) found: Findings,
    /// The services that have no quorum.
    pub(super) without_quorum: BTreeSet<String>,
    /// When the time alone will change what is wanted, in Unix seconds.
    pub(super) due: Option<u64>,
    /// Whether the VIPs on this host may have to follow a quorum.
    pub(super) vips_are_due: bool,
    pub(super) heard: HashMap<AddressName, Heard>,
    pub(super) checks: Scheduler<AddressName>,
    pub(super) tracker: Tracker,
    pub(super) view: watch::Receiver<Arc<View>>,
    /// To clients of whom nothing was heard.
    pub(super) ways_back: ways_back::Found,
    pub(super) vips: VipKeeper,
    pub(super) sweep: Sweep,
    /// What had begun when its round began.
    pub(super) begun: Begun,
    /// Who leaves clients without an answer.
    pub(super) silences: Silences,
    /// Its part among other directors, if it has some.
    pub(super) cluster: Option<Cluster>,
    /// What an earlier agent kept, until it is in force.
    pub(super) snapshot: Option<Snapshot>,
    /// By pair that is leaving: the round of the sweep that must have begun before its absence counts.
    pub(super) leaving_since: HashMap<u16, u64>,
}

/// Why the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SIGTERM or SIGINT.
    Stopped,
    /// `xlvs down`: nothing is attached any more.
    Down,
}

impl Agent {
    /// Serves until told to end.
    ///
    /// # Errors
    /// Only what makes serving impossible; everything else is logged, shown, and tried again.
    pub async fn serve(
        &mut self,
        mut inquiries: mpsc::Receiver<Inquiry>,
        mut news: mpsc::UnboundedReceiver<health::Event<AddressName>>,
    ) -> Result<End> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut step = tokio::time::interval(cluster::STEP);
        step.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut listen = tokio::time::interval(cluster::LISTEN);
        listen.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.follow_quorums().await;
            tokio::select! {
                _ = tick.tick() => {
                    self.tick();
                    if self.model.agent.reload == config::Reload::Watch && self.watch.has_settled_anew(&self.config_path) {
                        self.reload_unasked().await;
                    }
                }
                _ = step.tick(), if self.cluster.is_some() => {
                    if let Some(cluster) = &mut self.cluster {
                        cluster.step(&mut self.installation, Instant::now());
                    }
                    self.agree();
                }
                _ = listen.tick(), if self.cluster.as_ref().is_some_and(Cluster::listens) => {
                    if let Some(cluster) = &mut self.cluster {
                        cluster.hear(&mut self.installation);
                    }
                }
                event = news.recv() => {
                    let Some(event) = event else { anyhow::bail!("the health checks ended by themselves") };
                    let mut touched = BTreeSet::new();
                    touched.extend(self.hear(event));
                    while let Ok(event) = news.try_recv() {
                        touched.extend(self.hear(event));
                    }
                    self.reconcile_services(&touched);
                }
                changed = self.view.changed() => {
                    if changed.is_err() {
                        anyhow::bail!("the watch over routes and neighbours ended by itself");
                    }
                    self.look_at_network();
                }
                ways = self.ways_back.recv() => {
                    let Some(ways) = ways else { anyhow::bail!("the search for ways to clients ended by itself") };
                    self.installation.write_ways_back(&ways);
                }
                inquiry = inquiries.recv() => {
                    let Some((request, answer)) = inquiry else { anyhow::bail!("the control socket ended by itself") };
                    if let Some(end) = self.answer(request, answer).await {
                        return Ok(end);
                    }
                }
                _ = terminate.recv() => return Ok(End::Stopped),
                _ = interrupt.recv() => return Ok(End::Stopped),
                _ = hang_up.recv() => self.reload_unasked().await,
            }
        }
    }

    async fn answer(&mut self, request: Request, answer: oneshot::Sender<Response>) -> Option<End> {
        let outcome = match request {
            Request::Status => Ok(Report::Status(Box::new(self.status()))),
            Request::Connections(filter) => Ok(Report::Connections(self.connections(&filter))),
            Request::Affinity(query) => self.affinity(&query).map(Report::Affinity),
            Request::Peers => Ok(Report::Peers(Box::new(self.peers()))),
            Request::Drops => Ok(Report::Drops(self.drops())),
            Request::Explain(query) => self.explain(&query).await.map(Box::new).map(Report::Explain),
            Request::ExplainFrame(query) => {
                self.explain_frame(&query).await.map(Box::new).map(Report::Explain)
            }
            Request::BeginCapture(query) => self.begin_capture(query).await.map(Report::Capture),
            Request::GoOnCapturing { capture } => self.go_on_capturing(capture).map(Report::Capture),
            Request::EndCapture { capture } => self.finish_capture(capture).map(Report::Capture),
            Request::Reload { path } => self.reload(path).await.map(Report::Reload),
            Request::Diff { path } => self.diff(path).map(Report::Diff),
            Request::Override(order) => self.order(&order).map(Report::Override),
            Request::Down => {
                self.end_capture();
                let outcome =
                    self.take_down().await.map(|kept| Report::Down { pid: std::process::id(), kept });
                let end = outcome.is_ok().then_some(End::Down);
                let _ = answer.send(outcome.into());
                return end;
            }
        };
        let _ = answer.send(outcome.into());
        None
    }

    /// Each second: a sign of life, a stretch of the table, what is due.
    fn tick(&mut self) {
        self.beat();
        watchdog::alive();
        if let Some(log) = &mut self.log {
            log.flush();
        }
        let now = Instant::now();
        self.installation.follow(now);
        self.installation.tidy_lists(now);
        self.look_after_capture(now);
        if self.walk() {
            self.silences.suspect(self.sweep.census());
            self.free_what_left();
        }
        self.hear_silences();
        if self.is_due() || self.trouble.is_some() {
            self.reconcile();
        }
        self.look_around_cluster(now);
    }

    /// A stretch of the connection table; says whether a round was completed.
    fn walk(&mut self) -> bool {
        let limits = self.sweep_limits();
        let installation = &self.installation;
        let maps = &installation.maps;
        let is_denied = |site, slot| is_denied(maps, &installation.lists.in_force, site, slot);
        loads::walk(&mut self.sweep, &mut self.begun, maps, &limits, installation.counts(), is_denied)
    }

    /// Ends the connections of those who are denied by lists that are new: at once where that is cheap; in a large table the
    /// walk comes by.
    fn cut_denied(&mut self) {
        if !std::mem::take(&mut self.installation.lists.are_to_cut) || !is_small(&self.installation.maps) {
            return;
        }
        // The round that is under way has passed some of the table already.
        for _ in 0..2 {
            while !self.walk() {}
            self.free_what_left();
        }
    }

    /// Shows the data path that somebody looks after it.
    pub(super) fn beat(&self) {
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        let ns = monotonic.tv_sec as u64 * 1_000_000_000 + monotonic.tv_nsec as u64;
        let clock = self.installation.maps.clock.only();
        clock.advance(ns);
        clock.beat(ns, unix_seconds(SystemTime::now()));
    }

    /// Takes in what a check tells, and names the service to whose servers it makes a difference.
    pub(super) fn hear(&mut self, event: health::Event<AddressName>) -> Option<Arc<str>> {
        let health = heard::memo(event.health);
        let standing = self.standings.entry(event.key.clone()).or_default();
        let before = *standing;
        let heard = self.heard.entry(event.key.clone()).or_default();
        let known = self.found.get(&event.key).copied().unwrap_or_else(|| Found::of(standing));
        let changed = known.health != health && !standing.unchecked;
        let AddressName { pair: PairName { service, server }, family } = &event.key;
        if changed {
            tracing::info!(%service, %server, %family, "{:?} -> {:?}: {}", event.before, event.health, event.reason);
        }
        if let Some(said) = &event.said
            && heard.said.as_ref() != Some(said)
        {
            let Said { advice, trouble } = said;
            match trouble {
                None => tracing::info!(%service, %server, %family, "its agent says: {advice}"),
                Some(trouble) => {
                    tracing::info!(%service, %server, %family, "its agent: {trouble}; in force: {advice}");
                }
            }
        }
        let at = unix_seconds(event.at) as u32;
        let (touched, key) = (service.clone(), event.key.clone());
        heard.hear(event, changed);
        let advised = heard.advised();
        let found = Found { health: if standing.unchecked { standing.health } else { health }, advised };
        self.found.insert(key, found);
        // Another director that leads has the say, as long as it is heard.
        if self.cluster.as_ref().is_some_and(Cluster::follows) {
            return None;
        }
        let another = (Advised { heard: true, ..standing.advised }) != (Advised { heard: true, ..advised });
        let is_otherwise = another || found.health != standing.health;
        found.put_on(standing);
        if is_otherwise {
            standing.changed_from(&before, at);
        }
        let is_touched = *standing != before;
        if is_touched && let Some(cluster) = &mut self.cluster {
            cluster.settle_anew();
        }
        is_touched.then_some(touched)
    }

    pub(super) fn look_at_network(&mut self) {
        let view = self.view.borrow_and_update().clone();
        let named = self.named(&view.links);
        let ports = ports::known(&view.links, &named, view.hops.values().map(|hop| hop.ifindex));
        let outcome = self
            .installation
            .write_ports(&ports, &view.links)
            .and_then(|()| self.installation.write_locals(&view.addresses));
        self.note(outcome);
        self.installation.write_tunnels(&view);
        if self.installation.write_next_hops(&view) {
            self.reconcile();
        }
    }

    /// The interfaces that were named at the start, by their indices now: a VLAN may have been made anew.
    fn named(&self, links: &BTreeMap<u32, Link>) -> BTreeSet<u32> {
        let is_named = |link: &&Link| self.interfaces.iter().any(|interface| interface.name == link.name);
        links.values().filter(is_named).map(|link| link.index).collect()
    }

    /// Reloads where nobody waits for the outcome.
    async fn reload_unasked(&mut self) {
        match self.reload(None).await {
            Ok(report) => {
                tracing::info!(generation = report.generation, "reloaded: {} changes", report.changes.len());
            }
            Err(failure) => tracing::error!("reload refused, nothing changed: {failure}"),
        }
    }

    /// # Errors
    /// Every problem of the file, or what there is no room for; nothing has changed then.
    pub(super) async fn reload(&mut self, path: Option<PathBuf>) -> Result<ReloadReport, Failure> {
        let path = path.unwrap_or_else(|| self.config_path.clone());
        let read = Watch::of(&path);
        let outcome = self.put_in_force(&path).await;
        if path == self.config_path {
            self.watch = read;
        }
        let error = outcome.as_ref().err().map(ToString::to_string);
        self.last_reload = Some(LastReload { at: time_of(SystemTime::now()), ok: error.is_none(), error });
        outcome
    }

    async fn put_in_force(&mut self, path: &std::path::Path) -> Result<ReloadReport, Failure> {
        let mut stages = Stages::of("reload");
        let model = load(path)?;
        stages.done("read");
        let view = self.view.borrow().clone();
        let links: Vec<_> = view.links.values().cloned().collect();
        // Asked anew: what the operator has just mended may not have been heard yet.
        let addresses = self
            .vips
            .addresses()
            .await
            .map_err(|error| preflight::refused(format!("listing addresses: {error}")))?;
        preflight::lock_out(&model, &addresses, &links)?;
        preflight::means_of_checks(&model)?;
        membership::key(&model)?;
        stages.done("preflight");
        let changes = config::diff(&self.model, &model);
        stages.done("diff");
        let standings = standing::prepared(&model, &self.standings);
        let without_quorum = eligible::without_quorum(&model, &standings, &self.without_quorum);
        let now = unix_seconds(SystemTime::now());
        let circumstances = Circumstances { now, without_quorum };
        let wanted = desired::services(&model, &standings, &circumstances);
        stages.done("desired");
        let plan = self.installation.plan(&wanted).map_err(refused)?;
        stages.done("plan");
        self.find_ways(&wanted).await;
        stages.done("ways");

        // From here on the new configuration is in force.
        self.model = model;
        self.standings = standings;
        self.note_quorums(circumstances.without_quorum.clone());
        self.heard.retain(|name, _| self.standings.contains_key(name));
        self.found.retain(|name, _| self.standings.contains_key(name));
        if let Some(cluster) = &mut self.cluster {
            cluster.settle_anew();
        }
        self.config_path = path.to_owned();
        stages.done("model");
        let applied = self.installation.apply(plan, &wanted, Instant::now());
        stages.done("apply");
        self.look_ahead(&wanted);
        self.rename_cluster(&wanted);
        let applied = applied.map(|counted_elsewhere| self.tell_loads(counted_elsewhere));
        self.installation
            .write_settings(desired::limits(&self.model.datapath.timeouts), &self.model.datapath);
        stages.done("loads and settings");
        self.cut_denied();
        self.watch_targets();
        self.check_targets();
        stages.done("targets");
        self.look_at_network();
        stages.done("network");
        self.vips.keep(&self.model, &circumstances, &self.installation.pool(), &addresses).await;
        let named = self.named(&view.links);
        let named: Vec<_> = links.into_iter().filter(|link| named.contains(&link.index)).collect();
        self.warnings = preflight::warnings(&self.model, &addresses, &named);
        self.warn_of_cluster();
        stages.done("vips and warnings");
        self.note(applied);
        let about = self.installation.maps.about.only();
        about.generation.store(about.generation.load() + 1);
        about.reloaded.store(unix_seconds(SystemTime::now()));
        Ok(ReloadReport {
            schema: Schema,
            path: path.to_owned(),
            generation: about.generation.load(),
            changes: changes.iter().map(Into::into).collect(),
            warnings: self.warnings.clone(),
        })
    }

    /// Waits a moment for the next hops of servers that are to take connections: one that is picked before its way is known
    /// loses them, for good if this agent dies at that instant. A server that is silently dead has no way and is not
    /// waited for any longer.
    pub(super) async fn find_ways(&mut self, wanted: &[DesiredService]) {
        let used = wanted.iter().flat_map(|service| &service.servers).filter(|server| server.takes_new());
        let used: BTreeSet<IpAddr> = used.map(|server| IpAddr::from(server.address)).collect();
        self.tracker.set_targets(self.targets().union(&used).copied().collect());
        let known = self.view.wait_for(|view| used.iter().all(|address| view.hops.contains_key(address)));
        if tokio::time::timeout(WAY_FOUND_WITHIN, known).await.is_err() {
            let view = self.view.borrow();
            for address in used.iter().filter(|address| !view.hops.contains_key(address)) {
                tracing::warn!(%address, "the way to this server is not known (yet); is it there?");
            }
        }
    }

    fn targets(&self) -> BTreeSet<IpAddr> {
        self.installation.ledger.pairs().map(|(_, pair)| IpAddr::from(pair.identity.address)).collect()
    }

    /// Tells the tracker whose next hops are wanted: those leaving as well, as long as they have connections.
    pub(super) fn watch_targets(&self) {
        self.tracker.set_targets(self.targets());
    }

    /// Tells the scheduler which checks are wanted.
    pub(super) fn check_targets(&self) {
        self.checks.apply(standing::checks(&self.model, &self.standings));
    }

    pub(super) fn sweep_limits(&self) -> SweepLimits {
        let timeouts = &self.model.datapath.timeouts;
        let limits = desired::limits(timeouts);
        SweepLimits {
            tcp: Limits { established: desired::coarse(timeouts.established), ..limits },
            udp: Limits { established: desired::coarse(timeouts.udp), ..limits },
        }
    }

    /// A count of now where that is cheap, else the last complete walk's.
    pub(super) fn census_now(&self) -> Census {
        let maps = &self.installation.maps;
        if is_small(maps) {
            count_now(maps, maps.servers.all().len(), &self.sweep_limits())
        } else {
            self.sweep.census().clone()
        }
    }

    /// After a complete round: pairs that are leaving and were found nowhere in a round that began after they left.
    fn free_what_left(&mut self) {
        let rounds = self.sweep.rounds();
        let leaving: Vec<u16> = self
            .installation
            .ledger
            .pairs()
            .filter(|(_, pair)| pair.leaving)
            .map(|(id, _)| id.get())
            .collect();
        self.leaving_since.retain(|id, _| leaving.contains(id));
        for id in &leaving {
            self.leaving_since.entry(*id).or_insert(rounds + 1);
        }
        // A large table of seats is not walked each second; nobody is in haste to get a number back.
        let is_large = self.installation.maps.seats.all().len() > COUNT_AT_ONCE;
        if is_large && !rounds.is_multiple_of(LARGE_SEATS_EVERY) {
            return;
        }
        let census = self.sweep.census().clone();
        // Connections of other directors, which may come to be here.
        let told = if leaving.is_empty() { BTreeSet::new() } else { Told::servers(&self.installation.maps) };
        let seated = affinity::sweep(&self.installation.maps);
        let since = self.leaving_since.clone();
        let outcome = self.installation.free(|id| {
            census.names(id)
                || seated.contains(&id)
                || told.contains(&id)
                || since.get(&id.get()).is_none_or(|begun| rounds <= *begun)
        });
        self.note_only_failure(outcome);
        if !leaving.is_empty() {
            let wanted = self.wanted();
            self.rename_cluster(&wanted);
        }
        self.watch_targets();
    }

    fn note_only_failure(&mut self, outcome: Result<()>) {
        if outcome.is_err() {
            self.note(outcome);
        }
    }
}

/// Whether the connection table and the ports of full NAT are walked in a few milliseconds.
fn is_small(maps: &Maps) -> bool {
    maps.flows.all().len() <= COUNT_AT_ONCE && maps.leases.all().len() <= COUNT_AT_ONCE
}

/// Reads and validates a file for the agent.
pub(super) fn load(path: &std::path::Path) -> Result<Model, Failure> {
    config::load(path).map_err(|problems| {
        let listed = problems.iter().map(Into::into).collect();
        let count =
            if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) };
        Failure::invalid_config(format!("{}: {count}, nothing changed", path.display()), listed)
    })
}

pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(super) fn refused(error: anyhow::Error) -> Failure {
    Failure::new(FailureKind::Refused, format!("{error:#}"))
}
