//! `xlvs status` for people.

use super::Render;
use super::headline::headline;
use super::operator::overrides;
use super::services::services_table;
use super::table::facts;
use super::units::{age, count, or_unknown};
use crate::api::{FullNatStatus, InterfaceStatus, OverrideReport, StatusReport};
use std::collections::BTreeMap;

impl Render for StatusReport {
    fn table(&self) -> String {
        let mut text = headline(self) + "\n";
        for warning in &self.warnings {
            text += &format!("warning: {warning}\n");
        }
        text += "\n";
        let mut rows = vec![
            ("agent", agent(self)),
            ("config", config(self)),
            ("interfaces", self.interfaces.iter().map(interface).collect::<Vec<_>>().join(", ")),
            ("data path", data_path(self)),
            ("connections", connections(self)),
            ("packets", packets(&self.verdicts)),
            ("losses", losses(&self.losses)),
        ];
        if let Some(pool) = &self.fullnat {
            rows.insert(5, ("full NAT", full_nat(pool)));
        }
        if let Some(cluster) = &self.cluster {
            rows.insert(2, ("cluster", super::peers::summary(cluster)));
        }
        let by_hand = OverrideReport::in_force(self);
        if !by_hand.servers.is_empty() {
            rows.insert(2, ("by hand", overrides(&by_hand)));
        }
        text += &facts(rows);
        if !self.services.is_empty() {
            text += "\n";
            text += &services_table(&self.services);
        }
        text
    }
}

fn agent(status: &StatusReport) -> String {
    let node = status.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let since = age(status.since, status.at);
    format!("{}{node}, pid {}, started {since} ago", status.version, status.pid)
}

fn config(status: &StatusReport) -> String {
    let config = &status.config;
    let reload = match &config.last_reload {
        None => String::new(),
        Some(reload) => {
            let ago = age(reload.at, status.at);
            let why = reload.error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            if reload.ok {
                format!(", reloaded {ago} ago")
            } else {
                format!(", reload REFUSED {ago} ago{why}")
            }
        }
    };
    format!("{}, generation {}{reload}", config.path.display(), config.generation)
}

fn interface(interface: &InterfaceStatus) -> String {
    let mode = interface.mode.as_ref().map_or("not attached", |mode| mode.as_str());
    if interface.device == interface.name {
        format!("{} {mode}", interface.name)
    } else {
        format!("{} {mode} on {}", interface.name, interface.device)
    }
}

fn data_path(status: &StatusReport) -> String {
    let data_path = &status.data_path;
    let since = or_unknown(data_path.since, |since| format!("for {}", age(since, status.at)));
    let adopted = if data_path.adopted { ", adopted" } else { "" };
    format!(
        "ABI {}, program {}, pinned in {} {since}{adopted}",
        data_path.abi,
        data_path.program_tag.as_deref().unwrap_or("unknown"),
        data_path.pin_dir.display(),
    )
}

fn connections(status: &StatusReport) -> String {
    or_unknown(status.flow_table, |table| {
        format!(
            "{} of {}, {} homeless so far",
            count(table.connections_active),
            count(table.size),
            count(table.homeless_total)
        )
    })
}

fn full_nat(pool: &FullNatStatus) -> String {
    format!(
        "{} of {} ports lent, {} packets refused so far",
        count(pool.ports_lent),
        count(pool.ports),
        count(pool.refused_total)
    )
}

/// Verdicts by their first word, which says what became of the packet: `forwarded 12, passed 3`.
fn packets(verdicts: &BTreeMap<String, u64>) -> String {
    let mut by_word: BTreeMap<&str, u64> = BTreeMap::new();
    for (verdict, packets) in verdicts {
        let word = verdict.split('_').next().unwrap_or(verdict);
        *by_word.entry(word).or_default() += packets;
    }
    let mut words: Vec<_> = by_word.into_iter().collect();
    // What the machine is for comes first, the rest by size.
    words.sort_by_key(|&(word, packets)| (word != "forwarded", std::cmp::Reverse(packets), word));
    let texts: Vec<_> = words.iter().map(|(word, packets)| format!("{word} {}", count(*packets))).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn losses(losses: &BTreeMap<String, u64>) -> String {
    let texts: Vec<_> = losses
        .iter()
        .filter(|(_, packets)| **packets > 0)
        .map(|(reason, packets)| format!("{reason} {}", count(*packets)))
        .collect();
    if texts.is_empty() { "none after the verdict".to_owned() } else { texts.join(", ") }
}
