//! Connections that outlast the machine: what the tables hold when the agent ends, in one file of the state folder, for the next
//! one that finds no pins.
//!
//! It is what other directors would be told, by name, so that numbers, tables and sizes may be others by then.

mod file;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use lb_common::entry::{ServerState, Settings};
use lb_common::identity::FlowId;
use lb_common::net::{Addr, Port, Protocol, Tuple};
use lb_common::slot::{ServerId, Slot};

use super::actor::{Agent, unix_seconds};
use super::cluster::leases::{self, Leases};
use super::cluster::naming::Naming;
use super::cluster::seats::{self, Seats};
use super::cluster::stepping::in_map;
use super::connections::silence;
use super::desired::DesiredService;
use crate::dataplane::{Maps, Site};
use crate::replication::record::{Class, Connection};

pub use self::file::Snapshot;
use self::file::{Ends, Header, Record, Unfit, Writer};

const FILE: &str = "connections.snapshot";

/// What has become of the records of a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Restored {
    connections: u64,
    seats: u64,
    /// Silent for too long meanwhile.
    over: u64,
    /// Of servers that are not there any more, or are reached in another way.
    without_server: u64,
    no_room: u64,
}

fn place(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// What an earlier agent has left for these maps, `are_new` if nobody's connections are in them; and what is wrong with it. Of no
/// use otherwise, it goes.
pub fn found(state_dir: &Path, maps: &Maps, are_new: bool) -> (Option<Snapshot>, Option<String>) {
    let path = place(state_dir);
    if !are_new {
        discard(&path);
        return (None, None);
    }
    let why = match Snapshot::open(&path) {
        Ok(None) => return (None, None),
        Ok(Some(snapshot)) if snapshot.header.key == key(maps) => return (Some(snapshot), None),
        Ok(Some(_)) => "it was made with another hash key".to_owned(),
        Err(unfit) => unfit.to_string(),
    };
    let aside = path.with_extension("refused");
    let moved = match fs::rename(&path, &aside) {
        Ok(()) => format!("it is now {}", aside.display()),
        Err(error) => format!("renaming it: {error}"),
    };
    let what = "the connections that the last agent kept are not restored";
    (None, Some(format!("{what}: {}: {why}; {moved}", path.display())))
}

fn discard(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::error!("removing the snapshot {}: {error}", path.display());
    }
}

/// What the hash key makes of a tuple that no packet has.
fn key(maps: &Maps) -> u64 {
    let (nobody, nothing) = (Addr::v4([0; 4]), Port::from_host(0));
    let tuple = Tuple {
        client: nobody,
        vip: nobody,
        client_port: nothing,
        vip_port: nothing,
        protocol: Protocol::Udp,
    };
    maps.settings.only().flow_id(&tuple).bits()
}

impl Agent {
    /// Keeps what the tables hold for the next agent, if that is wanted, and says how much it is. Ending does not fail with it.
    pub(super) fn keep_connections(&self) -> Option<u64> {
        if !self.model.agent.snapshot {
            return None;
        }
        let naming = self.naming(&self.wanted()).telling_all();
        let path = place(&self.model.agent.state_dir);
        let kept = write(&path, &self.installation.maps, &naming, unix_seconds(SystemTime::now()));
        match kept.with_context(|| format!("keeping the connections in {}", path.display())) {
            Ok(kept) => {
                tracing::info!("kept {kept} connections and seats in {}", path.display());
                Some(kept)
            }
            Err(error) => {
                tracing::error!("{error:#}");
                None
            }
        }
    }

    /// Brings what an earlier agent kept into the tables. Nothing is attached yet.
    pub(super) fn restore_connections(&self, snapshot: &Snapshot, wanted: &[DesiredService]) {
        let now = unix_seconds(SystemTime::now());
        match restore(snapshot, &self.installation.maps, &self.naming(wanted), now) {
            Ok(Restored { connections, seats, over, without_server, no_room }) => tracing::info!(
                connections,
                seats,
                over,
                without_server,
                no_room,
                "restored what the last agent kept {} s ago",
                now.saturating_sub(snapshot.header.written)
            ),
            Err(unfit) => tracing::error!("reading {} again: {unfit}", snapshot.path().display()),
        }
    }

    /// What was restored is in force: it is the maps' from now on.
    pub(super) fn forget_snapshot(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            discard(snapshot.path());
        }
    }

    fn naming(&self, wanted: &[DesiredService]) -> Naming {
        Naming::of(&self.model, wanted, &self.installation.ledger, &Naming::default())
    }
}

/// Writes all that is established, lent or seated.
fn write(path: &Path, maps: &Maps, naming: &Naming, now: u64) -> Result<u64> {
    let names: Vec<_> = naming.pairs().collect();
    let numbers: std::collections::HashMap<_, u32> =
        (0..).zip(&names).map(|(number, pair)| (pair.target(), number)).collect();
    let table = maps.about.only().since.load();
    let mut writer = Writer::begin(path, &Header { key: key(maps), table, written: now, names })?;
    let clock = maps.clock.only().now();
    let mut add = |flow: FlowId, slot: Slot, connection: Connection, caller: Option<Tuple>| {
        let left = Duration::from_secs(connection.idle.into()).saturating_sub(silence(slot, clock)).as_secs();
        let ends = caller.map(|tuple| Ends {
            client: tuple.client.into(),
            client_port: tuple.client_port.to_host(),
            vip_port: tuple.vip_port.to_host(),
        });
        match (u32::try_from(left), numbers.get(&connection.target)) {
            (Ok(left @ 1..), Some(&name)) => {
                writer.add(Record { flow: flow.bits(), name, class: connection.class, left, ends })
            }
            _ => Ok(()),
        }
    };
    let geometry = maps.settings.only().geometry();
    for (site, cell) in maps.places(0..maps.buckets()) {
        let Some(slot) = Slot::from_word(cell.load()) else { continue };
        match site {
            Site::Flow(place) => {
                let record = Class::of(slot.class()).and_then(|class| naming.record(slot.server()?, class));
                if let Some((connection, _)) = record {
                    add(geometry.flow_of(slot, place.bucket), slot, connection, maps.caller(site, slot))?;
                }
            }
            Site::Lease(place) => {
                if let Some((flow, connection, _)) = leases::record(maps, naming, place, slot) {
                    add(flow, slot, connection, None)?;
                }
            }
        }
    }
    for (flow, slot, seat) in seats::all(maps, naming) {
        add(flow, slot, seat, None)?;
    }
    Ok(writer.finish()?)
}

/// Puts what is not over into tables that no packet looks into yet.
fn restore(snapshot: &Snapshot, maps: &Maps, naming: &Naming, now: u64) -> Result<Restored, Unfit> {
    let Header { names, written, .. } = &snapshot.header;
    let servers: Vec<Option<ServerId>> = names.iter().map(|pair| naming.server(pair.target())).collect();
    let gone = now.saturating_sub(*written);
    let (mut seats, mut leases) = (Seats::new(maps.seats.all().len()), Leases::new(maps.leases.all().len()));
    let mut restored = Restored::default();
    snapshot.each(|Record { flow, name, class, left, ends }| {
        let flow = FlowId::from_bits(flow);
        let (count, has_room) = match servers[name as usize] {
            _ if u64::from(left) <= gone => (&mut restored.over, true),
            None => (&mut restored.without_server, true),
            Some(server) => match class {
                Class::Seat(source) => (&mut restored.seats, seats.put(maps, flow, server, source)),
                Class::Lease(stage, lease) => {
                    let kept = leases.keep(maps, flow, server, stage, &lease);
                    (&mut restored.connections, kept.is_ok())
                }
                Class::Established | Class::HalfClosed | Class::Closing => {
                    (&mut restored.connections, store(maps, flow, server, class, ends))
                }
            },
        };
        *if has_room { count } else { &mut restored.no_room } += 1;
    })?;
    Ok(restored)
}

/// As if a packet had just come. False: no room.
fn store(maps: &Maps, flow: FlowId, server: ServerId, class: Class, ends: Option<Ends>) -> bool {
    let (table, now) = (maps.flow_table(), maps.clock.only().now());
    if table.locate(flow).is_some() {
        return true;
    }
    let (Some(entry), Some(class)) = (maps.servers.get(server.index()), class.in_table()) else {
        return false;
    };
    let state = ServerState::from_word(entry.state.load());
    let settings = maps.settings.only();
    let is_diverged = in_map(maps, state.service, flow) != Some(server);
    let admission = table.admit(flow, server, is_diverged, now, settings.limits(), |_, _| false);
    let Some((place, stored)) = admission.place().and_then(|place| Some((place, table.at(place)?))) else {
        return false;
    };
    stored.refresh(class, now);
    let caller = ends.map(|ends| Tuple {
        client: ends.client.into(),
        vip: entry.vip.load(),
        client_port: Port::from_host(ends.client_port),
        vip_port: Port::from_host(ends.vip_port),
        protocol: state.protocol(),
    });
    if let Some(caller) = caller.filter(|caller| settings.flow_id(caller) == flow)
        && settings.flags.load() & Settings::ADDRESSES != 0
        && let Some(address) = maps.addresses.get(place.number())
    {
        address.note(&caller);
    }
    true
}

#[cfg(test)]
mod tests;
