//! No port of a VIP is given to two services.

use std::collections::{BTreeMap, HashMap};

use super::near;
use crate::config::listener::Listener;
use crate::config::service::Draft;
use crate::config::source::{Placed, Spot};

/// Reports each listener that meets one of an earlier service. A port beside "any" of the same VIP is no conflict: the
/// port wins.
pub(super) fn check(services: &[Draft<'_>]) {
    let mut taken: HashMap<_, BTreeMap<u16, Placed<'_, Listener>>> = HashMap::new();
    for service in services {
        let listeners = service.listeners();
        for Placed { value: listener, spot } in &listeners {
            let taken = taken.entry((listener.vip, listener.protocol)).or_default();
            let (first, last) = listener.port.bounds();
            // What is taken does not overlap, so the last that begins in time also ends last.
            let before = taken.range(..=last).next_back().map(|(_, before)| *before);
            if let Some(before) = before.filter(|before| before.value.port.bounds().1 >= first) {
                report(*listener, *spot, before);
            }
        }
        for listener in listeners {
            let taken = taken.entry((listener.value.vip, listener.value.protocol)).or_default();
            taken.entry(listener.value.port.bounds().0).or_insert(listener);
        }
    }
}

fn report(listener: Listener, spot: Spot<'_>, before: Placed<'_, Listener>) {
    let place = near(before.spot, spot);
    let what = match before.value == listener {
        true => format!("{listener} is already a service at {place}"),
        false => format!("{listener} overlaps {}, which is already a service at {place}", before.value),
    };
    spot.problem(what, "put all servers into one service, or change vip, port or protocol");
}
