//! Who may come: the lists of all services in the kernel's trie.
//!
//! A list never changes. Its number is what it says, so one that says something else is written beside it, and comes into
//! force whole by one word of the service; what nobody goes by any more is removed a while later, when no packet that began
//! under it is on its way. An agent that dies amid this leaves prefixes that no service names, which its successor removes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lb_common::entry::{AccessKey, ServerState, Service};
use lb_common::slot::Slot;

use super::desired::DesiredService;
use super::install::Installation;
use super::ledger::Numbered;
use crate::config::Access;
use crate::dataplane::{Maps, Site};

/// Much longer than a packet takes.
const GRACE: Duration = Duration::from_millis(500);

/// What the agent knows of the trie.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Those that stand in it whole.
    complete: BTreeSet<u64>,
    /// When to look for those that nobody goes by.
    tidy_at: Option<Instant>,
    /// By lane, whom it admits, where that is not everybody.
    pub(super) in_force: HashMap<u16, Arc<Access>>,
    /// Whether somebody may have a connection who is denied since the lists last changed.
    pub(super) are_to_cut: bool,
}

impl Lists {
    /// Of a trie that may hold what a predecessor left.
    pub(super) fn found(now: Instant) -> Self {
        Self { tidy_at: Some(now), ..Self::default() }
    }
}

impl Installation {
    /// Whether the trie has room for these lists beside those in force.
    ///
    /// # Errors
    /// If not, with the remedy.
    pub(super) fn plan_lists(&self, wanted: &[DesiredService]) -> Result<()> {
        let new = different(wanted).into_iter().filter(|(number, _)| !self.lists.complete.contains(number));
        let new: usize = new.map(|(_, access)| access.rules().len()).sum();
        if new == 0 {
            return Ok(());
        }
        let (held, room) = (self.maps.lists.len(), self.maps.lists.room() as usize);
        if held + new > room {
            bail!(
                "the lists need {new} places beside the {held} prefixes that are in force, the maps have room for {room}; \
                 take out the old ones first, or write a larger list_slots in [datapath] and start the data path anew"
            );
        }
        Ok(())
    }

    /// Writes the lists that do not stand yet. None of them is in force by that.
    pub(super) fn write_lists(&mut self, wanted: &[DesiredService]) -> Result<()> {
        for (number, access) in different(wanted) {
            if self.lists.complete.contains(&number) {
                continue;
            }
            for (prefix, rule) in access.rules() {
                let before = if prefix.network().is_ipv4() { AccessKey::V4_BITS } else { 0 };
                let key =
                    AccessKey::new(number, prefix.network().into(), before + u32::from(prefix.length()));
                self.maps.lists.insert(key, rule).context("entering a prefix of a list")?;
            }
            self.lists.complete.insert(number);
        }
        Ok(())
    }

    /// Notes which lists are in force, once the services name them.
    pub(super) fn note_lists(&mut self, wanted: &[DesiredService], numbered: &[Numbered], now: Instant) {
        let restricted = wanted.iter().zip(numbered).filter(|(lane, _)| lane.access.number() != 0);
        let in_force = restricted.map(|(lane, numbers)| (numbers.service, lane.access.clone())).collect();
        if self.lists.in_force != in_force {
            self.lists.in_force = in_force;
            self.lists.are_to_cut = true;
            self.lists.tidy_at = Some(now + GRACE);
        }
    }

    /// Removes, when it is time, what no service goes by.
    pub fn tidy_lists(&mut self, now: Instant) {
        if self.lists.tidy_at.is_none_or(|at| now < at) {
            return;
        }
        self.lists.tidy_at = None;
        let in_use = |service: &&Service| service.flags.load() & Service::IN_USE != 0;
        let named: BTreeSet<u64> =
            self.maps.services.all().iter().filter(in_use).map(|service| service.access.load()).collect();
        self.lists.complete.retain(|number| named.contains(number));
        self.maps.lists.retain(|list| named.contains(&list));
    }

    /// Whom the lane with this number admits, if that is not everybody.
    pub(super) fn access_of(&self, number: u32) -> Option<&Access> {
        self.lists.in_force.get(&u16::try_from(number).ok()?).map(AsRef::as_ref)
    }
}

/// The wanted lists, each once.
fn different(wanted: &[DesiredService]) -> BTreeMap<u64, &Arc<Access>> {
    let numbered = wanted.iter().map(|lane| (lane.access.number(), &lane.access));
    numbered.filter(|(number, _)| *number != 0).collect()
}

/// Whether this entry belongs to a client whom its service does not admit (any more). Not if its client was not noted.
pub(super) fn is_denied(maps: &Maps, in_force: &HashMap<u16, Arc<Access>>, site: Site, slot: Slot) -> bool {
    let denied = || {
        let id = slot.server()?;
        let state = ServerState::from_word(maps.servers.get(id.index())?.state.load());
        let access = in_force.get(&state.service)?;
        Some(!access.admits(IpAddr::from(maps.caller(site, slot)?.client)))
    };
    !in_force.is_empty() && denied().unwrap_or(false)
}
