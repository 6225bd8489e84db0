//! Whether a client may have a connection of a service, or send another packet. What is off costs the word that says so.

use lb_common::{
    entry::{AccessKey, Incident, Rule, Service, ServiceLimits},
    identity::FlowId,
    lifecycle::Segment,
    net::{Addr, Port, Protocol, Tuple},
    rate,
    verdict::Verdict,
};

use crate::{director::Director, tables::Tables};

/// What is counted of a source.
#[derive(Clone, Copy)]
#[repr(u16)]
enum Kind {
    Connections = 1,
    Packets = 2,
}

/// Turns away whom the service's lists do not admit, and what goes beyond its limits. Asked where a packet has no entry.
#[inline(always)]
pub fn admit<T: Tables>(
    director: &Director<'_, T>,
    number: u32,
    service: &Service,
    client: &Addr,
    segment: Segment,
) -> Result<(), Verdict> {
    if !admits(director, service, client) {
        director.tables.count_incident(number, Incident::Denied);
        return Err(Verdict::DroppedDenied);
    }
    let limits = service.limits.load();
    if limits == 0 {
        return Ok(());
    }
    let opens = matches!(segment, Segment::Syn | Segment::Datagram);
    match exceeded(director.tables, limits as u32 - 1, client, opens) {
        NOTHING => Ok(()),
        OF_SERVICE => {
            director.tables.count_incident(number, Incident::RateService);
            Err(Verdict::DroppedRateService)
        }
        _ => {
            director.tables.count_incident(number, Incident::RateSource);
            Err(Verdict::DroppedRateSource)
        }
    }
}

/// Whether the service's lists admit this client.
#[inline(always)]
pub fn admits<T: Tables>(director: &Director<'_, T>, service: &Service, client: &Addr) -> bool {
    let list = service.access.load();
    list == 0 || rule(director.tables, list, client) == Rule::Allow as u64
}

/// What the list says about a client, as a word. A subprogram, so that only services with lists have the key on the stack.
/// Each list has an answer for everybody; one that has none is not a list of the agent's.
#[inline(never)]
fn rule<T: Tables>(tables: &T, list: u64, client: &Addr) -> u64 {
    tables.rule(&AccessKey::client(list, *client)).map_or(Rule::Deny as u64, u64::from)
}

const NOTHING: u64 = 0;
const OF_SOURCE: u64 = 1;
const OF_SERVICE: u64 = 2;

/// Which limit a packet without an entry goes beyond. The source's come first, so that who is refused by them does not use
/// up the service's own. A packet amid a connection opens none: after a takeover there are many of them.
#[inline(never)]
fn exceeded<T: Tables>(tables: &T, entry: u32, client: &Addr, opens: bool) -> u64 {
    let (Some(director), Some(limits)) = (Director::again(tables), tables.limits(entry)) else {
        return NOTHING;
    };
    let now = tables.monotonic_ns();
    if !takes(&director, limits, entry, client, Kind::Packets, now) {
        return OF_SOURCE;
    }
    if !opens {
        return NOTHING;
    }
    if !takes(&director, limits, entry, client, Kind::Connections, now) {
        return OF_SOURCE;
    }
    let interval = limits.connections.load();
    if interval != 0 && !tables.draw(&limits.used, 0, interval, now) {
        return OF_SERVICE;
    }
    NOTHING
}

/// Whether the source of a stored connection may send another packet to this service. Counts the refusal.
#[inline(never)]
pub fn has_packet_left<T: Tables>(tables: &T, number: u16, client: &Addr) -> bool {
    let number = u32::from(number);
    let entry = tables.service(number).map_or(0, |service| service.limits.load());
    if entry == 0 {
        return true;
    }
    let entry = entry as u32 - 1;
    let (Some(director), Some(limits)) = (Director::again(tables), tables.limits(entry)) else { return true };
    let has = takes(&director, limits, entry, client, Kind::Packets, tables.monotonic_ns());
    if !has {
        tables.count_incident(number, Incident::RateSource);
    }
    has
}

/// Takes one of a source's share; says whether there was any left.
#[inline(always)]
fn takes<T: Tables>(
    director: &Director<'_, T>,
    limits: &ServiceLimits,
    entry: u32,
    client: &Addr,
    kind: Kind,
    now: u64,
) -> bool {
    let interval = match kind {
        Kind::Connections => limits.source_connections.load(),
        Kind::Packets => limits.source_packets.load(),
    };
    if interval == 0 {
        return true;
    }
    let (set, tag) = rate::seat(source(director, limits, entry, client, kind).bits(), limits.set_mask.load());
    director.tables.take(set, tag, interval, now)
}

/// Who a source is, under the key of the data path, so that nobody can choose whom to meet in a set: a flow id, with the
/// network in the client's place and the limit in the VIP's.
#[inline(always)]
fn source<T: Tables>(
    director: &Director<'_, T>,
    limits: &ServiceLimits,
    entry: u32,
    client: &Addr,
    kind: Kind,
) -> FlowId {
    let mask = if client.as_v4().is_some() { limits.mask_v4.load() } else { limits.mask_v6.load() };
    director.settings.flow_id(&Tuple {
        client: *client & mask,
        vip: Addr::v4(entry.to_ne_bytes()),
        client_port: Port::from_raw(kind as u16),
        vip_port: Port::ANY,
        protocol: Protocol::Tcp,
    })
}
