//! Who comes back to which server: a table of its own, of the flow table's kind, whose places are the sources' seats.
//!
//! A seat says to which server a source's last connection went. Services of one group share it, although each has numbers of
//! its own for the same server: the seat keeps the number by which it was taken, and `members` tells the others' for it.
//! Asked where a connection opens, and nowhere else. Invariant: nobody loses a connection by it, whatever it says.

use lb_common::{
    entry::{Affinity, ServerState, Terms, Then},
    flow_table::{Entry, FlowTable, Seats},
    identity::FlowId,
    net::Tuple,
    slot::ServerId,
    verdict::Event,
};

use crate::{director::Director, schedule::Choice, tables::Tables};

/// A source's key, and the table it has its seat in.
struct Seating<'t, T: Tables> {
    table: FlowTable<'t, T, Seats>,
    affinity: &'t Affinity,
    key: Tuple,
    flow: FlowId,
}

impl<'t, T: Tables> Director<'t, T> {
    /// The server where the client's connections are; [`Choice::OPEN`]: it has no seat, or must take another one.
    #[inline(always)]
    pub fn seated(&self, number: u32, tuple: &Tuple) -> Choice {
        let Some(seating) = self.seating(number, tuple) else { return Choice::OPEN };
        let terms = Terms::from_word(seating.affinity.terms.load());
        let Some(seat) = self.seat_of(&seating, terms) else { return Choice::OPEN };
        let Some((id, state)) = self.member(number, seat.slot().server()) else { return Choice::OPEN };
        if !state.takes_new() {
            // Drained, removed: it has done with new connections. Down: as the group's policy is.
            let waits = state.flags
                & (ServerState::IN_USE | ServerState::DOWN | ServerState::DRAINED | ServerState::REMOVED)
                == ServerState::IN_USE | ServerState::DOWN;
            return match terms.on_down {
                Then::Reset if waits => Choice::NOT_NOW,
                Then::Keep if waits => self.follow(&seat, terms, id),
                _ => {
                    self.tables.count(Event::AffinityLost);
                    Choice::OPEN
                }
            };
        }
        self.follow(&seat, terms, id)
    }

    #[inline(always)]
    fn follow(&self, seat: &Entry<'t, T::Cell>, terms: Terms, id: ServerId) -> Choice {
        seat.refresh(terms.class(), self.now);
        self.tables.count(Event::AffinityFollowed);
        Choice::of(u64::from(id.get()))
    }

    /// From now on the client comes back to this server.
    #[inline(always)]
    pub fn seat(&self, number: u32, tuple: &Tuple, id: ServerId) {
        let Some(seating) = self.seating(number, tuple) else { return };
        let terms = Terms::from_word(seating.affinity.terms.load());
        let limits = seating.affinity.limits();
        if let Some(old) = seating.table.find(seating.flow) {
            if !old.move_to(id, false, self.now) {
                return;
            }
        } else if seating
            .table
            .admit(seating.flow, id, false, self.now, limits, |_, _| true)
            .place()
            .is_none()
        {
            return;
        }
        let Some(place) = seating.table.locate(seating.flow) else { return };
        if let Some(seat) = seating.table.at(place) {
            seat.refresh(terms.class(), self.now);
        }
        self.tables.count(Event::AffinityNoted);
        if self.tables.leaves_traces()
            && let Some(source) = self.tables.sitter(place)
        {
            source.note(&seating.key);
        }
    }

    #[inline(always)]
    fn seating(&self, number: u32, tuple: &Tuple) -> Option<Seating<'t, T>> {
        let affinity = self.tables.affinity(number)?;
        let key = affinity.seat_of(tuple.client);
        let table = FlowTable { memory: self.tables, geometry: Seats(affinity.geometry()) };
        Some(Seating { table, affinity, flow: self.settings.flow_id(&key), key })
    }

    #[inline(always)]
    fn seat_of(&self, seating: &Seating<'t, T>, terms: Terms) -> Option<Entry<'t, T::Cell>> {
        let seat = seating.table.find(seating.flow)?;
        if terms.are_over(seat.slot(), self.now) { None } else { Some(seat) }
    }

    /// The service's own number for a server that a seat names by any of the group's, and its state.
    #[inline(always)]
    fn member(&self, number: u32, named: Option<ServerId>) -> Option<(ServerId, ServerState)> {
        let named = named?;
        let state = self.state_of(named)?;
        if u32::from(state.service) == number {
            return Some((named, state));
        }
        let own = ServerId::new(self.tables.member(number, named)? as u16)?;
        Some((own, self.state_of(own)?))
    }

    #[inline(always)]
    fn state_of(&self, id: ServerId) -> Option<ServerState> {
        let state = ServerState::from_word(self.tables.server(id)?.state.load());
        if state.has(ServerState::IN_USE) { Some(state) } else { None }
    }
}
