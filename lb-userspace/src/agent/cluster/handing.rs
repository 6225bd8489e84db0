//! What has changed of the others' records, handed to the data path.

use lb_common::entry::ServerState;
use lb_common::flow_table::Place;
use lb_common::identity::FlowId;
use lb_common::slot::{ServerId, Slot};

use super::exports::Exports;
use super::leases::Leases;
use super::naming::Naming;
use super::seats::Seats;
use crate::agent::replicas::Told;
use crate::dataplane::Maps;
use crate::replication::record::Class;
use crate::replication::replicator::Replicator;

/// Of each flow id that has changed.
pub fn hand_over(
    replicator: &mut Replicator,
    naming: &Naming,
    exports: &Exports,
    told: &mut Told,
    seats: &mut Seats,
    leases: &mut Leases,
    maps: &Maps,
) {
    for flow in replicator.changes() {
        let replica = replicator.replica(flow);
        match replica.and_then(|it| Some((naming.server(it.target)?, it.class))) {
            // Its port tells where a connection by full NAT goes on, and no other has one, whatever a record says.
            Some((server, Class::Lease(stage, lease))) if is_full_nat(maps, server) => {
                told.take(maps, flow);
                // Without its port the connection ends with its director; counted.
                leases.put(maps, flow, server, stage, &lease);
            }
            Some((server, class)) => {
                leases.take(maps, flow);
                if let Class::Seat(source) = class {
                    // Without room the client goes where it is scheduled.
                    seats.put(maps, flow, server, source);
                }
                let Some(class) = class.in_table().filter(|_| !is_full_nat(maps, server)) else { continue };
                // Without room it is counted, and its packets go by hash.
                told.put(maps, flow, server, class);
                // An entry of our own outranks a replica. One that names another server is left from an earlier connection of
                // the same ends, which ended while this director did not see it.
                give_up(maps, flow, |_, _, slot| slot.server() != Some(server));
            }
            None => {
                told.take(maps, flow);
                if !replicator.is_own(flow) {
                    seats.take(maps, flow);
                    leases.take(maps, flow);
                }
                if replicator.has_ended_elsewhere(flow) {
                    // Packets that come here would have made the record ours. What has not changed since it was told is left
                    // over, and would take the next connection of the same ends for its own.
                    give_up(maps, flow, |place, word, _| exports.has_told(place, word));
                }
            }
        }
    }
}

fn is_full_nat(maps: &Maps, server: ServerId) -> bool {
    let server = maps.servers.get(server.index());
    server.is_some_and(|server| ServerState::from_word(server.state.load()).has(ServerState::FULL_NAT))
}

/// Clears the entry of this flow, if this holds of it.
fn give_up(maps: &Maps, flow: FlowId, holds: impl FnOnce(Place, u64, Slot) -> bool) {
    let Some(place) = maps.flow_table().locate(flow) else { return };
    let Some(bucket) = maps.flows.get(place.bucket) else { return };
    let cell = &bucket[place.index as usize];
    let word = cell.load();
    // The place may have been given to another flow since.
    let is_its = |slot: &Slot| maps.settings.only().geometry().flow_of(*slot, place.bucket) == flow;
    if Slot::from_word(word).filter(is_its).is_some_and(|slot| holds(place, word, slot)) {
        // If the data path was faster, packets come here, and the record will be ours.
        let _faster = cell.replace(word, 0);
    }
}
