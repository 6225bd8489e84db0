//! What the maps of the data path have room for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use lb_common::entry::Sharers;

use crate::config::listener::Protocol;
use crate::config::model::{Datapath, MaglevTableSize, Mode};
use crate::config::service::Draft;
use crate::config::source::Spot;

/// Slot ids have 16 bits and one of them means none.
const MOST_PAIRS: usize = 65_535;

pub(super) fn check(services: &[Draft<'_>], datapath: Option<&Datapath>) {
    check_sharers(services, datapath.is_none_or(|datapath| datapath.flow_table_size > 0));
    if let Some(datapath) = datapath {
        check_server_slots(services, datapath.server_slots);
        check_maglev_size(services, datapath.maglev_table_size);
    }
}

/// How many lanes lead to a place, and the server's address that was the last to add one.
struct Leading<'a> {
    lanes: usize,
    last: Spot<'a>,
}

/// A reply is looked up under each lane that leads to the server and port it comes from. They are few. With nothing to be
/// looked up in, there is but one.
fn check_sharers(services: &[Draft<'_>], flow_table: bool) {
    let mut leading: BTreeMap<(IpAddr, Protocol, Option<NonZeroU16>), Leading<'_>> = BTreeMap::new();
    for service in services.iter().filter(|service| matches!(service.mode, Ok(Mode::Nat))) {
        let Some(listening) = service.listening() else { continue };
        for server in &service.servers {
            let (Ok(addresses), Ok(port)) = (&server.addresses, server.port) else { continue };
            for address in addresses {
                let family = address.value.family();
                for lane in listening.lanes().filter(|lane| lane.vip.family() == family) {
                    let place = (address.value.ip(), lane.protocol, port.or(lane.port));
                    let leading = leading.entry(place).or_insert(Leading { lanes: 0, last: address.spot });
                    *leading = Leading { lanes: leading.lanes + 1, last: address.spot };
                }
            }
        }
    }
    let mut too_many: BTreeMap<(IpAddr, Protocol), Leading<'_>> = BTreeMap::new();
    for ((server, protocol, port), Leading { lanes, last }) in &leading {
        // Who keeps the port that was hit may answer from this one.
        let every =
            port.and_then(|_| leading.get(&(*server, *protocol, None))).map_or(0, |every| every.lanes);
        let lanes = lanes + every;
        let worst = too_many.entry((*server, *protocol)).or_insert(Leading { lanes, last: *last });
        if worst.lanes < lanes {
            *worst = Leading { lanes, last: *last };
        }
    }
    let limit = if flow_table { Sharers::LIMIT } else { 1 };
    too_many.retain(|_, worst| worst.lanes > limit);
    for ((server, _), Leading { lanes, last }) in too_many {
        let what = format!("{lanes} listeners lead to one port of the server {server} by NAT, and");
        let remedy = "give some of them another port or address at the server,";
        if flow_table {
            let what = format!("{what} at most {limit} can be told apart by its replies");
            last.problem(what, format!("{remedy} or write fewer VIPs"));
        } else {
            let what = format!("{what} without a flow table they cannot be told apart by its replies");
            last.problem(what, format!("{remedy} or {}", super::stateless::REMEDY));
        }
    }
}

fn check_server_slots(services: &[Draft<'_>], slots: u32) {
    let room = MOST_PAIRS.min(slots as usize);
    let each: Vec<usize> = services.iter().map(pairs).collect();
    let total: usize = each.iter().sum();
    let mut before = 0;
    for (service, pairs) in services.iter().zip(each) {
        if before <= room && before + pairs > room {
            let what = format!(
                "{total} pairs of listener and server do not fit server_slots = {slots}, from here on"
            );
            let remedy = match total <= MOST_PAIRS {
                true => format!("write server_slots = {total} or more in [datapath]"),
                false => format!("no more than {MOST_PAIRS} can be had, use fewer, or ranges of ports"),
            };
            service.spot.problem(what, remedy);
        }
        before += pairs;
    }
}

/// A server has a slot for each lane that leads to it.
fn pairs(service: &Draft<'_>) -> usize {
    let Some(listening) = service.listening() else { return service.servers.len() };
    if matches!(service.mode, Ok(Mode::Tunnel)) {
        return listening.lanes().count() * service.servers.len();
    }
    let addresses = || service.servers.iter().filter_map(|server| server.addresses.as_ref().ok()).flatten();
    listening
        .lanes()
        .map(|lane| addresses().filter(|address| address.value.family() == lane.vip.family()).count())
        .sum()
}

fn check_maglev_size(services: &[Draft<'_>], size: MaglevTableSize) {
    let MaglevTableSize::Prime(size) = size else { return };
    for service in services.iter().filter(|service| service.servers.len() > size as usize) {
        let servers = service.servers.len();
        let what = format!("the service has {servers} servers, but maglev_table_size is {size}");
        service.spot.problem(what, "write maglev_table_size = \"auto\" in [datapath]");
    }
}
