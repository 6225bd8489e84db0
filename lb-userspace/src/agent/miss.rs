//! Miss tables: by what a packet that is stored nowhere is given a server. They follow the select tables some time later, or, where
//! directors keep them in step, when that is agreed.

use std::time::Instant;

use anyhow::{Context, Result};
use lb_common::maglev::{self, Share};
use lb_common::pick::Extent;
use lb_common::slot::ServerId;

use super::install::Installation;

/// What a table is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Places.
    pub size: u32,
    /// Who has a part of it, by name.
    pub shares: Vec<Share>,
}

impl Made {
    /// Of a table is made what has weight, in whatever order it is given.
    pub fn of(size: u32, shares: &[Share]) -> Self {
        let mut shares: Vec<Share> = shares.iter().filter(|share| share.weight > 0).copied().collect();
        shares.sort_unstable_by_key(|share| share.name_hash);
        Self { size, shares }
    }
}

impl Installation {
    /// What this lane's select table is made of; `None`, while it has none or an earlier agent's.
    pub fn made_of_select(&self, number: u16) -> Option<Made> {
        let service = self.maps.services.get(u32::from(number))?;
        let extent = Extent::from_word(service.select.load())?;
        Some(Made::of(extent.size(), self.built.get(&number)?))
    }

    /// Likewise of its miss table.
    pub fn made_of_miss(&self, number: u16) -> Option<&Made> {
        self.missed.get(&number)
    }

    /// Where the lane's miss table is the select table, it is known what that is made of.
    pub(super) fn note_miss(&mut self, number: u16) {
        self.remade += 1;
        let Some(service) = self.maps.services.get(u32::from(number)) else { return };
        if service.miss.load() == service.select.load()
            && let Some(made) = self.made_of_select(number)
        {
            self.missed.insert(number, made);
        }
    }

    /// Lets the miss tables follow that are due, but for those that are kept in step.
    pub fn follow(&mut self, now: Instant) {
        let is_due = |(number, at): &(&u16, &Instant)| **at <= now && !self.in_step.contains(number);
        let due: Vec<u16> = self.following.iter().filter(is_due).map(|(number, _)| *number).collect();
        for number in due {
            let Some(service) = self.maps.services.get(u32::from(number)) else { continue };
            if let Some(select) = Extent::from_word(service.select.load()) {
                self.put_miss(number, select, now);
            }
            self.note_miss(number);
        }
    }

    /// Lets these follow, if they have yet to: there are no connections that the present ones should keep finding.
    pub fn follow_at_once(&mut self, numbers: impl Iterator<Item = u16>, now: Instant) {
        for number in numbers {
            self.following.entry(number).and_modify(|at| *at = now);
        }
        self.follow(now);
    }

    /// Lets the miss tables of these lanes be made of this: of all of them, or, if there is no room, of none.
    ///
    /// # Errors
    /// When there is no room.
    pub fn go_over(&mut self, lanes: Vec<(u16, Made)>, now: Instant) -> Result<()> {
        let mut ready = Vec::new();
        for (number, made) in lanes {
            if self.missed.get(&number) == Some(&made) {
                continue;
            }
            let service = self.maps.services.get(u32::from(number)).context("service numbers fit the map")?;
            let select = Extent::from_word(service.select.load());
            let select = select.filter(|_| self.made_of_select(number).as_ref() == Some(&made));
            match select.or_else(|| self.write_table(&maglev::table(&made.shares, made.size), now)) {
                Some(extent) => ready.push((number, extent, made, select.is_none())),
                None => {
                    for (_, extent, _, _) in ready.iter().filter(|(_, _, _, is_new)| *is_new) {
                        self.arena.release(*extent, now);
                    }
                    anyhow::bail!(
                        "no free stretch of table memory for the tables that directors have agreed on"
                    );
                }
            }
        }
        for (number, extent, made, _) in ready {
            self.put_miss(number, extent, now);
            self.missed.insert(number, made);
            self.remade += 1;
        }
        Ok(())
    }

    /// Publishes it, and releases what was there before if nobody else names it.
    fn put_miss(&mut self, number: u16, extent: Extent, now: Instant) {
        self.following.remove(&number);
        let Some(service) = self.maps.services.get(u32::from(number)) else { return };
        let (select, before) = (service.select.load(), service.miss.load());
        service.miss.store(extent.to_word());
        if let Some(old) =
            Extent::from_word(before).filter(|_| before != select && before != extent.to_word())
        {
            self.arena.release(old, now);
        }
    }

    /// Whether a miss table that is kept in step names this server: as long as it does, its number is not another one's.
    pub(super) fn is_missed(&self, id: ServerId) -> bool {
        let names = |made: &Made| made.shares.iter().any(|share| share.id == id.get());
        self.in_step.iter().filter_map(|number| self.missed.get(number)).any(names)
    }
}
