//! Several services may lead to one real server and port. Whose a connection between a client and that server is, follows
//! from the forward tuple, put together for each of them.

use lb_common::{
    entry::{Server, ServerState, Settings},
    flow_table::Place,
    net::{Port, Tuple},
    slot::ServerId,
};

use crate::{director::Director, tables::Tables, travelling::travels_as_word};

/// What ties a connection to one of the pairs that lead to its server and port: in one word, as a subprogram may return
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tie(u64);

travels_as_word!(Tie);

impl Tie {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// No entry, but the miss table gives the connection to this pair and to no other of its service.
    pub const DERIVABLE: Self = Self(1 << 63);
    const STORED: u64 = 1 << 62;
    /// An entry of another server of its service stands there, and the client's packets name their server themselves.
    pub const NAMED: Self = Self(1 << 61);
    /// No entry, but another director holds the connection at this pair.
    pub const TOLD: Self = Self(1 << 60);

    /// An entry of this pair stands there.
    #[inline(always)]
    pub const fn stored(place: Place) -> Self {
        Self(Self::STORED | place.to_word())
    }

    #[inline(always)]
    pub const fn place(self) -> Option<Place> {
        if self.0 & Self::STORED != 0 { Some(Place::from_word(self.0)) } else { None }
    }

    /// Whether there is such a connection.
    #[inline(always)]
    pub const fn is_known(self) -> bool {
        self.0 & (Self::STORED | Self::TOLD.0) != 0
    }

    /// 1 if told, for arithmetic.
    #[inline(always)]
    pub const fn told(self) -> u64 {
        self.0 >> 60 & 1
    }

    /// 1 if derivable, for arithmetic.
    #[inline(always)]
    pub const fn derivable(self) -> u64 {
        self.0 >> 63
    }
}

impl<T: Tables> Director<'_, T> {
    /// What ties this pair to a client's connection that hits this port at the server, whatever its VIP.
    #[inline(always)]
    pub fn tie(&self, id: ServerId, client: &Tuple, hit: Port) -> Tie {
        let Some(pair) = self.server(id) else { return Tie::NONE };
        // Who has no port of its own is hit on the VIP's, and speaks for its service from no other.
        if pair.state.port.is_any() && vip_port(pair.state, hit) != hit {
            return Tie::NONE;
        }
        let flow = self.settings.flow_id(&forward_tuple(pair.server, pair.state, client, hit));
        if self.is(Settings::FLOWS)
            && let Some(place) = self.flows().locate(flow)
            && let Some(entry) = self.flows().at(place)
        {
            let stored = entry.slot().server();
            if stored == Some(id) {
                return Tie::stored(place);
            }
            if pair.state.has(ServerState::BY_ID)
                && let Some(other) = stored.and_then(|other| self.server(other))
                && other.state.service == pair.state.service
            {
                return Tie::NAMED;
            }
        } else if self.tables.told(flow).is_some_and(|slot| slot.server() == Some(id)) {
            return Tie::TOLD;
        }
        if !pair.state.vip_port.is_any() && self.tables.derives(id, flow) {
            Tie::DERIVABLE
        } else {
            Tie::NONE
        }
    }
}

/// The tuple under which a client's connection to this server's service is stored.
#[inline(always)]
pub fn forward_tuple(server: &Server, state: ServerState, client: &Tuple, hit: Port) -> Tuple {
    Tuple { vip: server.vip.load(), vip_port: vip_port(state, hit), ..*client }
}

/// The VIP's port of a connection that hits this port at the server.
#[inline(always)]
pub const fn vip_port(state: ServerState, hit: Port) -> Port {
    if state.vip_port.is_any() { hit } else { state.vip_port }
}
