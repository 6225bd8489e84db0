//! Brings the maps to what is desired: of all services, or of those alone whose servers something has happened to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use super::actor::Agent;
use super::desired::{self, DesiredServer, DesiredService};
use super::install::Installation;
use super::ledger::Numbered;
use super::loads::Begun;

impl Agent {
    /// What the maps ought to say.
    pub(super) fn wanted(&self) -> Vec<DesiredService> {
        desired::services(&self.model, &self.standings, &self.circumstances())
    }

    /// What they ought to say of these services.
    pub(super) fn wanted_of(&self, names: &BTreeSet<Arc<str>>) -> Vec<DesiredService> {
        let circumstances = self.circumstances();
        let services = self.model.services.iter().filter(|service| names.contains(service.name.as_str()));
        services
            .flat_map(|service| desired::lanes(&self.model, service, &self.standings, &circumstances))
            .collect()
    }

    /// Brings the maps to what is desired now.
    pub(super) fn reconcile(&mut self) {
        self.judge_quorums();
        let wanted = self.wanted();
        let view = self.view.borrow().clone();
        let outcome = self.installation.reconcile(&wanted, &view, Instant::now());
        self.look_ahead(&wanted);
        let outcome = outcome.map(|counted_elsewhere| self.tell_loads(counted_elsewhere));
        self.note(outcome);
    }

    /// Brings the maps to what is desired of these services, to whose servers something has happened. The time this takes does
    /// not depend on how many others there are.
    pub(super) fn reconcile_services(&mut self, names: &BTreeSet<Arc<str>>) {
        if names.is_empty() && self.trouble.is_none() {
            return;
        }
        self.judge_quorums_of(names);
        let wanted = self.wanted_of(names);
        match self.installation.refresh(&wanted, Instant::now()) {
            Ok(true) if self.trouble.is_none() => {
                let changes =
                    wanted.iter().flat_map(|lane| &lane.servers).filter_map(DesiredServer::next_change);
                self.due = changes.chain(self.due).min();
            }
            Ok(_) => {
                self.reconcile();
                // Who is counted elsewhere may have been written already.
                self.tell_loads(true);
            }
            Err(error) => self.note(Err(error)),
        }
    }

    pub(super) fn note(&mut self, outcome: Result<()>) {
        self.trouble = outcome.err().map(|error| {
            tracing::error!("the maps could not be brought up to date, trying again: {error:#}");
            format!("{error:#}")
        });
    }

    /// Whoever is counted elsewhere now has the last walk's count there until the next.
    pub(super) fn tell_loads(&self, counted_elsewhere: bool) {
        if counted_elsewhere {
            let maps = &self.installation.maps;
            Begun::read(maps).publish(maps, &self.census_now());
        }
    }
}

impl Installation {
    /// Brings whole services that are in force to what their servers' standing asks for now; their lanes, numbers and ways are
    /// as they were. Whether that is all: if not, everything must be brought up to date, because a lane has got its first server
    /// or lost its last, which its VIP tells by pings, or because something was not in force.
    ///
    /// # Errors
    /// What there is no room for.
    pub fn refresh(&mut self, services: &[DesiredService], now: Instant) -> Result<bool> {
        let numbers = |lane: &DesiredService| {
            let numbers = self.in_force.get(&lane.identity)?;
            (numbers.servers.len() == lane.servers.len()).then(|| numbers.clone())
        };
        let Some(numbered) = services.iter().map(numbers).collect::<Option<Vec<Numbered>>>() else {
            return Ok(false);
        };
        for (lane, numbers) in services.iter().zip(&numbered) {
            for (server, id) in lane.servers.iter().zip(&numbers.servers) {
                self.write_server(lane, numbers.service, server, *id);
            }
        }
        let mut all = !self.write_loads(services, &numbered);
        for (lane, numbers) in services.iter().zip(&numbered) {
            let before = self.has_servers(numbers.service);
            self.build_tables(lane, numbers, now)?;
            self.build_turns(lane, numbers, now)?;
            all &= before == self.has_servers(numbers.service);
        }
        self.write_scheduling(services, &numbered);
        Ok(all)
    }

    /// Whether a lane's new connections are given to anybody.
    pub(super) fn has_servers(&self, number: u16) -> bool {
        self.built.get(&number).is_some_and(|shares| !shares.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use lb_common::entry::HealthMemo;

    use super::*;
    use crate::agent::eligible::Circumstances;
    use crate::agent::sizes;
    use crate::agent::standing::{self, Standings};
    use crate::config::{self, Model};
    use crate::dataplane::Maps;
    use crate::net::{NextHop, View};

    const SERVICES: usize = 30;

    fn model() -> Model {
        let service = |nth: usize| {
            let server = |it: usize| {
                format!(
                    "[[service.server]]\nname = \"rs{it}\"\naddress = \"10.0.{nth}.{it}\"\nmax_connections = 9\n"
                )
            };
            let servers: String = (1..=4).map(server).collect();
            format!(
                "[[service]]\nname = \"s{nth}\"\nvip = \"192.0.2.{}\"\nport = 80\nmode = \"nat\"\n{servers}",
                nth + 1
            )
        };
        let text: String = (0..SERVICES).map(service).collect();
        config::load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn standings(model: &Model, is_up: impl Fn(&str, &str) -> bool) -> Standings {
        let mut standings = standing::prepared(model, &Standings::new());
        for (name, standing) in &mut standings {
            let up = is_up(&name.pair.service, &name.pair.server);
            standing.health = if up { HealthMemo::Up } else { HealthMemo::Down };
        }
        standings
    }

    fn view(model: &Model) -> View {
        let hop = |ip: IpAddr| (ip, NextHop { mac: [2, 0, 0, 0, 0, 1], ifindex: 2, via: ip });
        View { hops: standing::configured(model).map(|it| hop(it.address.ip())).collect(), ..View::default() }
    }

    fn wanted(model: &Model, standings: &Standings) -> Vec<DesiredService> {
        desired::services(model, standings, &Circumstances::default())
    }

    fn installed(model: &Model) -> Installation {
        let maps = Maps::own(&sizes::of(model)).unwrap();
        let mut installation = Installation::of(maps, Instant::now());
        let all_up = wanted(model, &standings(model, |_, _| true));
        installation.reconcile(&all_up, &view(model), Instant::now()).unwrap();
        installation
    }

    /// What the data path reads of each lane and of each server.
    fn told(installation: &Installation) -> (Vec<u64>, Vec<[u64; 5]>) {
        let maps = &installation.maps;
        let of_server = |(index, server): (usize, &lb_common::entry::Server)| {
            let load = maps.loads.get(index as u32).unwrap();
            [server.state.load(), server.memo.load(), load.most.load(), load.weight.load(), load.home.load()]
        };
        (
            maps.services.all().iter().map(|service| service.select.load()).collect(),
            maps.servers.all().iter().enumerate().map(of_server).collect(),
        )
    }

    #[test]
    fn what_happens_to_one_services_server_touches_its_table_alone_and_comes_to_the_same_as_doing_everything()
    {
        let model = model();
        let (mut one, mut all) = (installed(&model), installed(&model));
        let standings = standings(&model, |service, server| (service, server) != ("s7", "rs2"));
        let everything = wanted(&model, &standings);
        let its: Vec<_> = everything.iter().filter(|lane| &*lane.name == "s7").cloned().collect();
        let before = told(&one);
        assert!(one.refresh(&its, Instant::now()).unwrap());
        all.reconcile(&everything, &view(&model), Instant::now()).unwrap();
        assert_eq!(one.built, all.built);
        assert_eq!(one.turned, all.turned);
        assert_eq!(told(&one).1, told(&all).1);
        let (tables, servers) = told(&one);
        assert_eq!(tables.iter().zip(&before.0).filter(|(now, then)| now != then).count(), 1);
        assert!(servers.iter().zip(&before.1).filter(|(now, then)| now != then).count() >= 1);
    }

    #[test]
    fn a_service_that_loses_its_last_server_or_is_not_in_force_is_not_all() {
        let model = model();
        let mut installation = installed(&model);
        let of = |model: &Model, standings: &Standings, name: &str| -> Vec<_> {
            wanted(model, standings).into_iter().filter(|lane| &*lane.name == name).collect()
        };
        let without = of(&model, &standings(&model, |service, _| service != "s7"), "s7");
        assert!(!installation.refresh(&without, Instant::now()).unwrap(), "its VIP answers no ping any more");
        let mut unknown = of(&model, &standings(&model, |_, _| true), "s8");
        unknown[0].identity.name_hash += 1;
        assert!(!installation.refresh(&unknown, Instant::now()).unwrap());
    }
}
