//! What the operator orders by hand: drain, disable, enable, weight. Kept in the pins, so it survives reload and restart.

use std::time::SystemTime;

use lb_common::entry;

use super::actor::{Agent, unix_seconds};
use super::desired::PairName;
use super::status;
use crate::api::{
    DiffReport, Failure, FailureKind, OverriddenServer, OverrideAction, OverrideReport, Schema,
};
use crate::config;
use crate::control::{Order, OverrideRequest, WeightOrder};

impl Agent {
    /// # Errors
    /// If nobody is meant by the names.
    pub(super) fn order(&mut self, request: &OverrideRequest) -> Result<OverrideReport, Failure> {
        let names = self.meant(request)?;
        let mut changed = Vec::with_capacity(names.len());
        for name in &names {
            let standing = self.standings.entry(name.clone()).or_default();
            let before = *standing;
            match request.order {
                Order::Drain => standing.admin = entry::Admin::Draining,
                Order::Enable => standing.admin = entry::Admin::Enabled,
                Order::Disable => standing.admin = entry::Admin::Disabled,
                Order::Weight(WeightOrder::Set(weight)) => standing.weight = Some(weight),
                Order::Weight(WeightOrder::Config) => standing.weight = None,
            }
            changed.push(*standing != before);
            if *standing != before {
                standing.since = unix_seconds(SystemTime::now()) as u32;
                let PairName { service, server } = name;
                tracing::info!(%service, %server, "ordered: {:?}", request.order);
            }
        }
        self.reconcile();
        self.check_targets();
        let census = self.census_now();
        let wanted = self.wanted();
        let servers = names.iter().zip(changed).filter_map(|(name, changed)| {
            let service = wanted.iter().find(|service| service.name == name.service)?;
            let server = service.servers.iter().find(|server| server.name == name.server)?;
            let configured = self.model.service(&name.service)?.server(&name.server)?.weight.get();
            let remaining = self.id_of(service, server).map_or(0, |id| census.active(id));
            Some(OverriddenServer {
                service: name.service.clone(),
                server: name.server.clone(),
                changed,
                admin: status::admin(server.standing.admin),
                state: status::state(server, remaining),
                weight: u32::from(server.weight),
                weight_configured: u32::from(configured),
                weight_override: server.standing.weight.map(u32::from),
                connections_remaining: remaining,
            })
        });
        Ok(OverrideReport { schema: Schema, action: action(request.order), servers: servers.collect() })
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
        let names: Vec<PairName> = self
            .model
            .services
            .iter()
            .filter(|service| request.service.as_ref().is_none_or(|name| service.name.as_str() == name))
            .filter(|service| service.server(&request.server).is_some())
            .map(|service| PairName {
                service: service.name.as_str().to_owned(),
                server: request.server.clone(),
            })
            .collect();
        if names.is_empty() {
            let place =
                request.service.as_ref().map_or("any service".to_owned(), |name| format!("service {name}"));
            return Err(not_found(format!("{place} has no server {}; see 'xlvs servers'", request.server)));
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
    }
}
