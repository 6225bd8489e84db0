//! How large the maps are made: for the configuration at hand, and for what may come by reload.

use lb_common::flow_table::BUCKET_SLOTS;
use lb_common::rate;
use lb_common::slot::Geometry;

use super::desired::{self, DesiredService};
use super::eligible::Circumstances;
use super::standing::Standings;
use crate::config::Model;
use crate::dataplane::{MapSizes, Maps};

/// Room for lanes that come by reload.
const SPARE_SERVICES: u32 = 1024;
/// Room for listeners that come by reload: a few long ranges of ports. 80 bytes each.
const SPARE_LISTENERS: u32 = 16_384;
/// Room for tables that come by reload, in words: 8 MiB.
const SPARE_TABLE_WORDS: u32 = 1 << 20;

/// What the maps must have room for.
#[must_use]
pub fn of(model: &Model) -> MapSizes {
    let lanes = desired::services(model, &Standings::new(), &Circumstances::default());
    let services = lanes.len() as u32;
    let words: u32 = lanes.iter().map(DesiredService::table_words).sum();
    let ports: usize = lanes.iter().map(|lane| lane.ports.len()).sum();
    let geometry = Geometry::for_connections(u64::from(model.datapath.flow_table_size))
        .unwrap_or_else(|| Geometry::nearest(u32::MAX));
    MapSizes {
        geometry,
        addresses: if model.datapath.client_addresses { geometry.slots() } else { 1 },
        servers: model.datapath.server_slots,
        // Those that leave beside those that come.
        services: (services * 2).max(SPARE_SERVICES),
        // Each port, and a marker for each VIP; there is a lane at least for each.
        listeners: ((ports as u32 + services) * 2).max(SPARE_LISTENERS),
        lists: model.datapath.list_slots,
        source_sets: model.datapath.source_slots.div_ceil(rate::WAYS as u32).next_power_of_two(),
        seat_buckets: seats(model).buckets(),
        replica_buckets: replicas(model, geometry).buckets(),
        lease_buckets: (model.fullnat.size() / BUCKET_SLOTS as u32).max(1),
        // Select and miss, and both once more while they are exchanged.
        table_words: (words * 4).max(SPARE_TABLE_WORDS),
    }
}

/// The shape of the table of who comes back to which server.
#[must_use]
pub fn seats(model: &Model) -> Geometry {
    Geometry::for_connections(u64::from(model.datapath.affinity_slots))
        .unwrap_or_else(|| Geometry::nearest(u32::MAX))
}

/// The shape of the table of connections that other directors hold: each may hold as many as this one.
fn replicas(model: &Model, of_flows: Geometry) -> Geometry {
    if model.cluster.has_peers() { of_flows } else { Geometry::nearest(0) }
}

/// Whether maps that were found are as large as the file asks for.
#[must_use]
pub fn hold(maps: &Maps, sizes: &MapSizes) -> bool {
    maps.flows.all().len() == sizes.geometry.buckets() as usize
        && maps.addresses.all().len() == sizes.addresses as usize
        && maps.servers.all().len() == sizes.servers as usize
        && maps.lists.room() == sizes.lists
        && maps.sources.all().len() == sizes.source_sets as usize
        && maps.seats.all().len() == sizes.seat_buckets as usize
        && maps.replicas.all().len() == sizes.replica_buckets as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_long_range_takes_listeners_and_a_list_takes_lanes() {
        let sizes = |port: &str| {
            let text = format!(
                "[[service]]\nname = \"web\"\nvip = [\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\"]\nport = {port}\n\
                 health = {{ kind = \"none\" }}\n[[service.server]]\nname = \"rs1\"\naddress = \"198.51.100.1\"\n"
            );
            of(&config::load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}")))
        };
        let (one, range) = (sizes("80"), sizes("\"1-4096\""));
        assert_eq!((one.services, one.listeners), (SPARE_SERVICES, SPARE_LISTENERS));
        assert_eq!((range.services, range.listeners), (SPARE_SERVICES, (3 * 4096 + 3) * 2));
        assert_eq!(range.table_words, one.table_words);
        let list: Vec<String> = (1..=1000).map(|port| port.to_string()).collect();
        let list = sizes(&format!("[{}]", list.join(", ")));
        assert_eq!(list.services, 3 * 1000 * 2);
        assert!(list.table_words > one.table_words);
    }
}
