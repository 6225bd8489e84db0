//! What the operator orders by hand: drain, disable, enable, weight, and none of it any more. Kept in the pins, so it survives reload and restart.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use lb_common::entry;
use lb_common::net::Addr;

use super::actor::{Agent, unix_seconds};
use super::desired::DesiredServer;
use super::services;
use super::standing::PairName;
use crate::api::{
    DiffReport, Failure, FailureKind, OverriddenServer, OverrideAction, OverrideReport, Schema, ServerState,
};
use crate::config;
use crate::control::{Order, OverrideRequest, WeightOrder};

impl Agent {
    /// # Errors
    /// If nobody is meant by the names.
    pub(super) fn order(&mut self, request: &OverrideRequest) -> Result<OverrideReport, Failure> {
        let named = self.meant(request)?.into_iter();
        let named: Vec<(bool, PairName)> = named
            .map(|name| Ok((self.put_on(&name, request.order)?, name)))
            .collect::<Result<_, Failure>>()?;
        let named = named.into_iter();
        let (changed, names): (Vec<bool>, Vec<PairName>) =
            named.filter(|(changed, _)| *changed || request.order != Order::Clear).unzip();
        let services: BTreeSet<Arc<str>> = names.iter().map(|name| name.service.clone()).collect();
        self.reconcile_services(&services);
        self.check_targets();
        let (wanted, census) = (self.wanted_of(&services), self.census_now());
        let directory = self.installation.ledger.directory();
        let servers = names.iter().zip(changed).filter_map(|(name, changed)| {
            let lanes = wanted.iter().filter(|lane| lane.name == name.service);
            let its: Vec<(&DesiredServer, u64)> = lanes
                .filter_map(|lane| {
                    let server = lane.servers.iter().find(|server| server.name == name.server)?;
                    Some((server, directory.pair(lane, server).map_or(0, |id| census.active(id))))
                })
                .collect();
            let (server, _) = its.first()?;
            // An address is in several lanes, and what is left in earlier ones is counted once for it.
            let addresses: HashMap<Addr, &DesiredServer> =
                its.iter().map(|(server, _)| (server.address, *server)).collect();
            let left = addresses.values().flat_map(|server| directory.earlier(server));
            let left: u64 = left.map(|id| census.active(*id)).sum();
            let remaining = left + its.iter().map(|(_, remaining)| remaining).sum::<u64>();
            let configured = self.model.service(&name.service)?.server(&name.server)?.weight.get();
            Some(OverriddenServer {
                service: name.service.to_string(),
                server: name.server.to_string(),
                changed,
                admin: services::admin(server.standing.admin),
                state: ServerState::of_all(its.iter().map(|(server, _)| services::state(server, remaining)))?,
                weight: u32::from(server.weight),
                weight_configured: u32::from(configured),
                weight_override: server.standing.weight.map(u32::from),
                connections_remaining: remaining,
            })
        });
        Ok(OverrideReport { schema: Schema, action: action(request.order), servers: servers.collect() })
    }

    /// Puts an order on every address of a server, here and on the other directors; says whether it changed anything.
    ///
    /// # Errors
    /// When it could not be kept.
    fn put_on(&mut self, name: &PairName, order: Order) -> Result<bool, Failure> {
        let mut changed = false;
        for address in name.addresses() {
            let Some(standing) = self.standings.get_mut(&address) else { continue };
            let before = *standing;
            match order {
                Order::Drain => standing.admin = entry::Admin::Draining,
                Order::Enable => standing.admin = entry::Admin::Enabled,
                Order::Disable => standing.admin = entry::Admin::Disabled,
                Order::Weight(WeightOrder::Set(weight)) => standing.weight = Some(weight),
                Order::Weight(WeightOrder::Config) => standing.weight = None,
                Order::Clear => (standing.admin, standing.weight) = (entry::Admin::Enabled, None),
            }
            if *standing != before {
                standing.changed_from(&before, unix_seconds(SystemTime::now()) as u32);
                changed = true;
            }
        }
        if changed {
            let PairName { service, server } = name;
            tracing::info!(%service, %server, "ordered: {order:?}");
            let standing = name.addresses().iter().find_map(|name| self.standings.get(name));
            if let (Some(cluster), Some(standing)) = (&mut self.cluster, standing) {
                cluster.order(name, standing).map_err(super::actor::refused)?;
                cluster.settle_anew();
            }
        }
        Ok(changed)
    }

    /// # Errors
    /// Every problem of the file.
    pub(super) fn diff(&self, path: Option<std::path::PathBuf>) -> Result<DiffReport, Failure> {
        let path = path.unwrap_or_else(|| self.config_path.clone());
        let model = super::actor::load(&path)?;
        let changes = config::diff(&self.model, &model);
        Ok(DiffReport {
            schema: Schema,
            path,
            generation: self.installation.maps.about.only().generation.load(),
            changes: changes.iter().map(Into::into).collect(),
        })
    }

    fn meant(&self, request: &OverrideRequest) -> Result<Vec<PairName>, Failure> {
        let not_found = |message: String| Failure::new(FailureKind::NotFound, message);
        if let Some(service) = &request.service
            && self.model.service(service).is_none()
        {
            let there: Vec<&str> = self.model.services.iter().map(|service| service.name.as_str()).collect();
            return Err(not_found(format!("no service {service}; there are: {}", there.join(", "))));
        }
        let services = self.model.services.iter();
        let services = services
            .filter(|service| request.service.as_ref().is_none_or(|name| service.name.as_str() == name));
        let pairs = services.flat_map(|service| service.servers.iter().map(move |server| (service, server)));
        let names: Vec<PairName> = pairs
            .filter(|(_, server)| request.server.as_ref().is_none_or(|name| server.name.as_str() == name))
            .map(|(service, server)| PairName::of(service, server))
            .collect();
        if let (true, Some(server)) = (names.is_empty(), &request.server) {
            let what = match &request.service {
                Some(service) => format!("service {service} has no server {server}"),
                None => format!("no service has a server {server}"),
            };
            return Err(not_found(format!("{what}; see 'xlvs servers'")));
        }
        Ok(names)
    }
}

fn action(order: Order) -> OverrideAction {
    match order {
        Order::Drain => OverrideAction::Drain,
        Order::Enable => OverrideAction::Enable,
        Order::Disable => OverrideAction::Disable,
        Order::Weight(_) => OverrideAction::Weight,
        Order::Clear => OverrideAction::Clear,
    }
}
