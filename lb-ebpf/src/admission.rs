//! Whether a client may have a connection of a service at all. Asked only where a packet has no entry; what is off costs the
//! word of the service that says so.

use lb_common::{
    entry::{AccessKey, Refusal, Rule, Service},
    net::Addr,
    verdict::Verdict,
};

use crate::tables::Tables;

/// Turns a client away that the service's lists do not admit.
#[inline(always)]
pub fn admit<T: Tables>(tables: &T, number: u32, service: &Service, client: Addr) -> Result<(), Verdict> {
    let list = service.access.load();
    if list != 0 && rule(tables, list, &client) != Rule::Allow as u64 {
        tables.count_refusal(number, Refusal::Denied);
        return Err(Verdict::DroppedDenied);
    }
    Ok(())
}

/// What the list says about a client, as a word. A subprogram, so that only services with lists have the key on the stack.
/// Each list has an answer for everybody; one that has none is not a list of the agent's.
#[inline(never)]
fn rule<T: Tables>(tables: &T, list: u64, client: &Addr) -> u64 {
    tables.rule(&AccessKey::client(list, *client)).map_or(Rule::Deny as u64, u64::from)
}
