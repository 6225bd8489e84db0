//! A director among others: what of the connection table its peers are told ([`exports`], by the names that [`naming`] gives), and
//! what they tell, handed to the data path.
//!
//! The protocol and its streams are [`crate::replication`]'s. Here is what joins them to the maps, the host and the operator:
//! which [`life`] of the table it is, who is dead ([`absences`]), and who is told that this director may have the VIPs
//! ([`readiness`]). One owner, asked ten times a second; nobody waits for a peer here.

mod absences;
mod agreeing;
mod agreement;
mod events;
mod exports;
mod handing;
pub mod leases;
mod life;
pub mod naming;
mod ordered;
mod pace;
mod readiness;
mod report;
mod ripening;
pub mod seats;
pub mod stepping;
mod wiring;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use lb_common::clock::{COARSE_TICKS, TICK_NS};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::absences::Absences;
use self::events::Observed;
use self::exports::Exports;
use self::leases::Leases;
use self::life::Life;
use self::naming::Naming;
use self::ordered::Ordered;
use self::pace::Pace;
use self::readiness::Readiness;
use self::seats::Seats;
use self::stepping::Stepping;
use super::desired::DesiredService;
use super::install::Installation;
use super::ledger::Ledger;
use super::replicas::Told;
use crate::config::{Mesh, Model};
use crate::dataplane::Maps;
use crate::replication::join::Standing;
use crate::replication::record::ByKind;
use crate::replication::replicator::{Replicator, Setup};
use crate::replication::store::Bounds;
use crate::replication::transport::credentials::Credentials;
use crate::replication::transport::{self, Desk};
use crate::replication::version::NodeId;

pub use self::agreement::{Findings, Found};

/// How often a part of the table is looked at, and what has come is handed to the data path.
pub const STEP: Duration = Duration::from_millis(1000 / exports::STEPS as u64);

/// How often a director that serves looks for connections that have just settled. None of them wakes it, which would cost the
/// data path an interrupt.
pub const LISTEN: Duration = Duration::from_millis(5);

/// So many of them at a time; more than the data path has room for between two looks.
const AT_ONCE: usize = 1 << 14;

/// The longest that a director which leaves waits for its peers to have all it has told.
const FAREWELL: Duration = Duration::from_secs(2);

/// Directors of which there may be records at a time, their earlier lives included.
const ORIGINS_EACH: usize = 4;

/// Whose connections are in the maps at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inherited {
    Nobodys,
    /// Those of an agent before this one, whose maps they are.
    Maps,
    /// Those of a table that was made then, in Unix seconds, and is no more.
    Snapshot(u64),
}

/// This director's part in the cluster.
pub struct Cluster {
    mesh: Mesh,
    desk: Arc<Desk>,
    /// Until the maps are in force.
    listener: Option<TcpListener>,
    streams: Option<JoinHandle<()>>,
    life: Life,
    naming: Naming,
    exports: Exports,
    stepping: Stepping,
    told: Told,
    seats: Seats,
    leases: Leases,
    ordered: Ordered,
    /// Who decides what servers are in; `None`: each for itself.
    led_by: Option<NodeId>,
    /// Standings have yet to be brought to what is agreed.
    is_unsettled: bool,
    absences: Absences,
    readiness: Option<Readiness>,
    observed: Observed,
    pace: Pace,
    /// What an earlier agent told the data path has been compared with what the peers hold.
    is_settled: bool,
    listens: bool,
}

impl Cluster {
    /// Ready to begin. Nothing is sent before [`Cluster::begin`].
    ///
    /// # Errors
    /// What keeps it from being one of its cluster.
    pub async fn prepare(model: &Model, maps: &Maps, inherited: Inherited) -> Result<Option<Self>> {
        let Some(mesh) = model.cluster.mesh.clone() else {
            // A director that had peers once goes by nothing that they told.
            Told::found(maps).clear(maps);
            return Ok(None);
        };
        let readiness = match &mesh.ready_file {
            Some(path) => {
                // What goes on forwarding needs no other director in its place.
                let is_serving = inherited == Inherited::Maps;
                let until = is_serving.then(|| Instant::now() + mesh.patience.whole);
                let begun = Readiness::begin(path.clone(), until);
                Some(begun.with_context(|| format!("saying in {} that it is not ready", path.display()))?)
            }
            None => None,
        };
        let listener = TcpListener::bind(mesh.listen)
            .await
            .with_context(|| format!("listening on {} for the other directors", mesh.listen))?;
        let node = NodeId::of(mesh.node.as_str());
        let made = maps.about.only().since.load();
        let (mut life, recovering) = Life::settle(&model.agent.state_dir, node, made, inherited)?;
        let setup = setup(&mesh, model, &life, recovering);
        let mut replicator = Replicator::new(setup, life.mark(), Instant::now());
        let (ordered, given) = Ordered::read(&model.agent.state_dir)?;
        for (server, given) in given {
            replicator.remember(server, given)?;
        }
        life.keep(replicator.mark())?;
        Ok(Some(Self {
            mesh,
            desk: Arc::new(Desk::new(replicator)),
            listener: Some(listener),
            streams: None,
            life,
            naming: Naming::default(),
            exports: Exports::new(maps.flows.all().len()),
            stepping: Stepping::default(),
            told: Told::found(maps),
            seats: Seats::new(maps.seats.all().len()),
            leases: Leases::new(maps.leases.all().len()),
            ordered,
            led_by: None,
            is_unsettled: true,
            absences: Absences::default(),
            readiness,
            observed: Observed::default(),
            pace: Pace::default(),
            is_settled: false,
            listens: false,
        }))
    }

    /// The maps are in force: the way into the cluster begins.
    ///
    /// # Errors
    /// When the credentials cannot be read any more.
    pub fn begin(&mut self) -> Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let credentials = Credentials::load(&self.mesh.credentials)?;
        let peers: BTreeMap<NodeId, SocketAddr> =
            self.mesh.peers.iter().map(|peer| (NodeId::of(peer.name.as_str()), peer.address)).collect();
        let (desk, node) = (self.desk.clone(), self.life.origin().node);
        self.desk.with(|replicator| replicator.begin(Instant::now()));
        self.streams = Some(tokio::spawn(async move {
            if let Err(error) = transport::run(desk, node, listener, peers, credentials).await {
                tracing::error!("speaking to the other directors: {error:#}");
            }
        }));
        Ok(())
    }

    /// Services and servers as they are now.
    pub fn rename(&mut self, model: &Model, wanted: &[DesiredService], ledger: &Ledger) {
        self.stepping.rename(model, wanted, ledger);
        let naming = Naming::of(model, wanted, ledger, &self.naming);
        if naming == self.naming {
            return;
        }
        self.naming = naming;
        self.exports.look_again();
        let (pairs, desk) = (self.naming.pairs(), &self.desk);
        let configured = desk.with(|replicator| {
            let configured = replicator.configure(pairs);
            // An id may be another one.
            replicator.review();
            configured
        });
        if let Err(refusal) = configured {
            tracing::error!(
                "naming services and servers for the other directors: {refusal}; rename one of those with the same hash"
            );
        }
    }

    /// Whether connections settle here of which somebody is to hear at once.
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// Tells of the connections that have just settled, as far as the data path has announced them.
    pub fn hear(&mut self, installation: &mut Installation) {
        let settled = installation.maps.announced.take(AT_ONCE);
        if settled.is_empty() {
            return;
        }
        let Self { desk, naming, exports, .. } = self;
        desk.with(|replicator| {
            if !replicator.is_recovering() {
                exports.hear(&settled, &installation.maps, naming, replicator, Instant::now());
            }
        });
    }

    /// Tells what is new in the next part of the table, and takes in what has come.
    pub fn step(&mut self, installation: &mut Installation, now: Instant) {
        self.hear(installation);
        let Self { desk, naming, exports, stepping, told, seats, leases, .. } = self;
        desk.with(|replicator| {
            stepping.step(installation, replicator, exports, now);
            let maps = &installation.maps;
            // Of a table that an earlier agent has told of, its peers first say what it told.
            if !replicator.is_recovering() {
                exports.step(maps, naming, replicator, now);
                seats.step(maps, naming, replicator, now);
                leases.step(maps, naming, replicator, now);
            }
            handing::hand_over(replicator, naming, exports, told, seats, leases, maps);
        });
        self.settle(&installation.maps);
        let peers = self.mesh.peers.iter().map(|peer| NodeId::of(peer.name.as_str()));
        let (mark, listens) = self.desk.with(|replicator| {
            let serves = replicator.standing() == Standing::Serving;
            (replicator.mark(), serves && peers.into_iter().any(|peer| replicator.heard_of(peer).is_some()))
        });
        self.listens = listens;
        if let Err(error) = self.life.keep(mark) {
            tracing::error!("keeping how far the records have come: {error:#}");
        }
    }

    /// What an earlier agent told the data path, and nobody holds any more.
    fn settle(&mut self, maps: &Maps) {
        let Self { desk, naming, told, is_settled, .. } = self;
        if *is_settled {
            return;
        }
        desk.with(|replicator| {
            if replicator.standing() < Standing::Ready {
                return;
            }
            told.retain(maps, |flow| {
                replicator.replica(flow).is_some_and(|it| naming.server(it.target).is_some())
            });
            *is_settled = true;
        });
    }

    /// Each second: who is dead, who has come and gone; and `has_vips`, all that the file has are on this host; `is_ready`, so is
    /// the agent, its part here included.
    pub fn look_around(&mut self, has_vips: bool, is_ready: bool, now: Instant) {
        let Self { desk, absences, .. } = self;
        let taken: Vec<_> = desk.with(|replicator| {
            replicator.serve(has_vips);
            let dead = absences.look(&replicator.orphans(), now);
            let serves = replicator.standing() == Standing::Serving;
            let dead = dead.into_iter().filter(|_| serves);
            dead.map(|origin| (origin.node, replicator.take_over(origin, now))).collect()
        });
        for (node, connections) in taken {
            tracing::warn!(director = self.name(node), connections, "dead; its connections are taken over");
        }
        self.observe();
        self.tell_engine(|readiness| readiness.say(is_ready, now));
    }

    /// Why it may not have the VIPs; `None` if it may.
    pub fn not_ready(&self) -> Option<String> {
        let standing = self.desk.with(|replicator| replicator.standing());
        let why = match standing {
            Standing::Ready | Standing::Serving => return None,
            Standing::Init => "the way into the cluster has not begun",
            Standing::Connect => "waiting for the other directors",
            Standing::Snapshot => "getting what the other directors hold",
            Standing::CatchUp => "getting what has changed at the other directors meanwhile",
            Standing::Draining => "leaving the cluster",
        };
        Some(why.to_owned())
    }

    /// Tells the peers the last news, waits a moment for them to have it, and closes the streams.
    pub async fn leave(&mut self, maps: &Maps) {
        let now = Instant::now();
        self.tell_engine(|readiness| readiness.leave(now));
        let Self { desk, naming, exports, seats, leases, .. } = self;
        desk.with(|replicator| {
            if !replicator.is_recovering() {
                exports.finish(maps, naming, replicator, now);
                seats.finish(maps, naming, replicator, now);
                leases.finish(maps, naming, replicator, now);
            }
            replicator.drain(true);
        });
        while now.elapsed() < FAREWELL && !desk.with(|replicator| replicator.acknowledged()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if !desk.with(|replicator| replicator.acknowledged()) {
            tracing::warn!("a director that is connected has not acknowledged all it was told");
        }
        if let Some(streams) = self.streams.take() {
            streams.abort();
        }
    }

    /// Whether `[cluster]` of this file says the same of who is there, which is settled at the start.
    pub fn is_of(&self, model: &Model) -> bool {
        model.cluster.mesh.as_ref() == Some(&self.mesh)
    }

    fn tell_engine(&mut self, say: impl FnOnce(&mut Readiness) -> std::io::Result<()>) {
        if let Some(readiness) = &mut self.readiness
            && let Err(error) = say(readiness)
        {
            let path: &Path = readiness.path();
            tracing::error!("saying in {} whether it is ready: {error}", path.display());
        }
    }

    fn name(&self, node: NodeId) -> &str {
        let peer = self.mesh.peers.iter().find(|peer| NodeId::of(peer.name.as_str()) == node);
        peer.map_or(self.mesh.node.as_str(), |peer| peer.name.as_str())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(streams) = &self.streams {
            streams.abort();
        }
    }
}

fn setup(mesh: &Mesh, model: &Model, life: &Life, recovering: bool) -> Setup {
    let connections = model.datapath.flow_table_size as usize;
    // The longest that any director's file can say: they need not say the same while one is being changed.
    let longest_idle = Duration::from_nanos(127 * u64::from(COARSE_TICKS) * TICK_NS);
    Setup {
        origin: life.origin(),
        recovering,
        // One cluster has one authority; nothing else needs to tell clusters apart.
        domain: String::new(),
        since_1970: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        peers: mesh.peers.iter().map(|peer| NodeId::of(peer.name.as_str())).collect(),
        scope: mesh.scope,
        bounds: Bounds {
            // Its own table, and that of the one it stands by for.
            records: ByKind {
                connections: connections * 2,
                seats: model.datapath.affinity_slots as usize * 2,
                leases: model.fullnat.size() as usize * 2,
            },
            tombstones: connections / 2,
            origins: (mesh.peers.len() + 1) * ORIGINS_EACH,
            longest_idle,
        },
        quarantine: connections / 8,
        dirty: connections / 8,
        digest_interval: Duration::from_secs(10),
        patience: mesh.patience,
    }
}
