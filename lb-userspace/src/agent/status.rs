//! The report behind `status`, `services`, `servers` and `stats`, and the one behind `drops`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lb_common::ABI_VERSION;
use lb_common::entry;
use lb_common::verdict::{Action, Event, Verdict};

use super::actor::Agent;
use super::cluster::Cluster;
use super::{silence, standing};
use crate::api::{
    ConfigStatus, Counted, DataPathStatus, DropsReport, FlowTableStatus, FullNatStatus, Schema, StatusReport,
    time_of,
};
use crate::dataplane::driver_losses;

impl Agent {
    pub(super) fn status(&mut self) -> StatusReport {
        let census = self.census_now();
        let services = self.services_status(&census);
        let maps = &self.installation.maps;
        let about = maps.about.only();
        let unix = |seconds: u64| (seconds != 0).then(|| time_of(UNIX_EPOCH + Duration::from_secs(seconds)));
        let not_ready = self.not_ready();
        let mut warnings = self.warnings.clone();
        for service in &services {
            let silent =
                service.servers.iter().filter_map(|it| Some((it, it.unanswered.filter(|count| *count > 0)?)));
            warnings
                .extend(silent.map(|(server, waiting)| silence::told(&service.name, &server.name, waiting)));
        }
        StatusReport {
            schema: Schema,
            at: time_of(SystemTime::now()),
            ready: not_ready.is_empty(),
            not_ready,
            warnings,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            since: time_of(self.started),
            config: ConfigStatus {
                path: self.config_path.clone(),
                generation: about.generation.load(),
                last_reload: self.last_reload.clone(),
            },
            data_path: DataPathStatus {
                abi: ABI_VERSION as u32,
                program_tag: Some(self.program_tag.clone()),
                pin_dir: self.pins.dir().to_owned(),
                since: unix(about.since.load()),
                adopted: self.adopted,
            },
            interfaces: self.interfaces.clone(),
            flow_table: Some(FlowTableStatus {
                size: u64::from(self.model.datapath.flow_table_size),
                connections_active: census.total(),
                homeless_total: maps.counts.event(Event::Homeless).unwrap_or(0),
            }),
            fullnat: (maps.pool.only().size() > 0).then(|| FullNatStatus {
                addresses: self.installation.pool(),
                ports: maps.pool.only().size(),
                ports_lent: census.lent(),
                refused_total: maps.counts.verdict(Verdict::DroppedNoPort).map_or(0, |tally| tally.packets),
            }),
            cluster: self.cluster.as_ref().map(Cluster::status),
            services,
            verdicts: self
                .verdicts()
                .map(|(verdict, packets)| (verdict.name().to_owned(), packets))
                .collect(),
            events: Event::ALL
                .iter()
                .map(|event| (event.name().to_owned(), maps.counts.event(*event).unwrap_or(0)))
                .collect(),
            losses: self.losses(),
        }
    }

    pub(super) fn drops(&self) -> DropsReport {
        let verdicts: Vec<(Verdict, u64)> = self.verdicts().collect();
        let about = self.installation.maps.about.only();
        DropsReport {
            schema: Schema,
            at: time_of(SystemTime::now()),
            since: Some(time_of(UNIX_EPOCH + Duration::from_secs(about.since.load()))),
            received: verdicts.iter().map(|(_, packets)| packets).sum(),
            drops: verdicts
                .iter()
                .filter(|(verdict, packets)| *packets > 0 && verdict.action() != Action::Send)
                .map(|(verdict, packets)| Counted {
                    reason: verdict.name().to_owned(),
                    packets: *packets,
                    meaning: verdict.meaning().to_owned(),
                })
                .collect(),
            losses: self
                .losses()
                .into_iter()
                .filter(|(_, packets)| *packets > 0)
                .map(|(name, packets)| Counted {
                    meaning: "Lost after the verdict, by the driver's own count.".to_owned(),
                    reason: name,
                    packets,
                })
                .collect(),
        }
    }

    /// Why the agent is not ready; nothing if it is.
    pub(super) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for interface in self.interfaces.iter().filter(|interface| interface.mode.is_none()) {
            reasons.push(format!("not attached to {}", interface.name));
        }
        for address in standing::configured(&self.model) {
            let standing = self.standings.get(&address.name).copied().unwrap_or_default();
            if standing.admin == entry::Admin::Disabled {
                continue;
            }
            if standing.is_unknown() {
                reasons.push(format!("no health result yet for {}", address.told()));
            }
            if address.service.agent_check.is_some() && !standing.advised.heard {
                reasons.push(format!("no health result yet by the agent of {}", address.told()));
            }
        }
        reasons.extend(self.trouble.clone());
        reasons.extend(self.cluster.as_ref().and_then(Cluster::not_ready));
        reasons
    }

    fn verdicts(&self) -> impl Iterator<Item = (Verdict, u64)> {
        let maps = &self.installation.maps;
        Verdict::ALL
            .iter()
            .map(|verdict| (*verdict, maps.counts.verdict(*verdict).map_or(0, |tally| tally.packets)))
    }

    /// What the drivers lost, by interface and the driver's own name for it.
    fn losses(&self) -> BTreeMap<String, u64> {
        let devices: BTreeSet<&String> = self.interfaces.iter().map(|interface| &interface.device).collect();
        let of_device = |name: &String| {
            let losses = driver_losses(name).unwrap_or_default();
            let name = name.clone();
            losses.into_iter().map(move |(counter, packets)| (format!("{name}.{counter}"), packets))
        };
        devices.into_iter().flat_map(of_device).collect()
    }
}
