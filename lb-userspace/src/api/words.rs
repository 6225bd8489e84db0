//! The contract's enums: words in JSON, and open.
//!
//! A word this version does not know is kept as `Other`, so an older command line can show what a newer
//! agent says instead of failing on it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$meaning])* $variant,)+
            /// A word of another version.
            Other(String),
        }

        impl $name {
            /// Every word this version knows, in the order of the contract.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant,)+];

            /// The word itself, as in JSON.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(Cow::<'de, str>::deserialize(deserializer)?.as_ref()))
            }
        }
    };
}

words! {
    /// How the XDP program is attached to an interface.
    XdpMode {
        /// In the driver: the fast path.
        Native = "native",
        /// On socket buffers, after the kernel allocated them: works everywhere, slow.
        Generic = "generic",
        /// On the network card itself.
        Offload = "offload",
    }
}

words! {
    /// How a service's packets reach the real servers.
    ForwardMode {
        /// Destination address and port are rewritten, and the replies' source back.
        Nat = "nat",
        /// Direct routing: only the destination MAC changes, the server answers the client itself.
        Dr = "dr",
        /// A header is prepended, the server unwraps.
        Tunnel = "tunnel",
        /// Source and destination are rewritten.
        Fullnat = "fullnat",
    }
}

words! {
    /// The transport protocol of a listener, a connection or a packet.
    Protocol {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
}

words! {
    /// What a server's own agent orders, in HAProxy's words.
    AgentOrder {
        /// Nothing.
        Ready = "ready",
        /// No new connections.
        Drain = "drain",
        /// Maintenance.
        Maint = "maint",
    }
}

impl From<crate::health::advice::Order> for AgentOrder {
    fn from(order: crate::health::advice::Order) -> Self {
        match order {
            crate::health::advice::Order::Ready => Self::Ready,
            crate::health::advice::Order::Drain => Self::Drain,
            crate::health::advice::Order::Maint => Self::Maint,
        }
    }
}

words! {
    /// What a real server is to the tables, all in all.
    ServerState {
        /// It takes new connections.
        Up = "up",
        /// It takes new connections, and its share still grows since its return.
        Starting = "starting",
        /// It could, but those that come before it do.
        Standby = "standby",
        /// Its health checks failed: no new connections.
        Down = "down",
        /// Drained by an operator or by weight 0; connections are left on it.
        Draining = "draining",
        /// Drained, and no connection is left.
        Drained = "drained",
        /// Under maintenance: drained and not checked.
        Disabled = "disabled",
        /// No health result yet.
        Unknown = "unknown",
    }
}

impl ServerState {
    /// What a server is all in all that is this at its several addresses: what of it is the worst, so that nothing hides
    /// behind an address that is well. `None` for no address.
    #[must_use]
    pub fn of_all(states: impl IntoIterator<Item = Self>) -> Option<Self> {
        let badness = |state: &Self| match state {
            Self::Up | Self::Starting | Self::Standby | Self::Other(_) => 0,
            Self::Drained => 1,
            Self::Draining => 2,
            Self::Disabled => 3,
            Self::Unknown => 4,
            Self::Down => 5,
        };
        states.into_iter().max_by_key(badness)
    }
}

words! {
    /// What an operator ordered for a real server.
    Admin {
        /// Nothing: it serves when it is healthy.
        Enabled = "enabled",
        /// `xlvs drain`.
        Draining = "draining",
        /// `xlvs disable`.
        Disabled = "disabled",
    }
}

words! {
    /// What the health checks say.
    Health {
        /// The last `rise` checks passed.
        Up = "up",
        /// The last `fall` checks failed.
        Down = "down",
        /// No result yet.
        Unknown = "unknown",
        /// Not checked: `kind = "none"`, or the server is disabled.
        Off = "off",
    }
}

words! {
    /// The class of a stored connection; it decides how long it lives and what may evict it.
    ConnectionClass {
        /// Seen once; no sign of life from the other side.
        New = "new",
        /// The server answered (NAT).
        Answered = "answered",
        /// Traffic both ways, or on several ticks where replies are not seen.
        Established = "established",
        /// One FIN was seen; a download may still follow.
        HalfClosed = "half_closed",
        /// Both sides closed, or silence after a FIN or RST.
        Closing = "closing",
    }
}

words! {
    /// How the data path would settle on a server.
    Decision {
        /// The connection table names it.
        Entry = "entry",
        /// The service's table picks it.
        Pick = "pick",
        /// A server's reply on its way to the client, translated back.
        Reply = "reply",
        /// Another director holds its connection there.
        Replica = "replica",
        /// The packet that an ICMP error quotes names it.
        Quoted = "quoted",
        /// Its connection id (QUIC) names it.
        Named = "named",
        /// Its connection id does not; its entry or the service's table does.
        Flow = "flow",
        /// The first part of its datagram led there.
        Fragment = "fragment",
        /// No server is involved: the packet is not ours, or has nowhere to go.
        None = "none",
    }
}

words! {
    /// What a configuration change does to the object it names.
    ChangeKind {
        /// It was not there before.
        Added = "added",
        /// It is no longer there.
        Removed = "removed",
        /// A value differs.
        Changed = "changed",
    }
}

words! {
    /// When a change comes into force.
    Effect {
        /// With the reload.
        Reload = "reload",
        /// When the agent is started anew.
        Restart = "restart",
    }
}

words! {
    /// What an operator asked for.
    OverrideAction {
        /// No new connections.
        Drain = "drain",
        /// Undo drain and disable.
        Enable = "enable",
        /// No new connections and no checks.
        Disable = "disable",
        /// Another weight than the file's, or the file's again.
        Weight = "weight",
        /// As the file has it in every respect.
        Clear = "clear",
        /// None: what is in force was asked for.
        List = "list",
    }
}

words! {
    /// What was done for a cluster.
    ClusterAction {
        /// It was founded.
        Init = "init",
        /// Another director was given its credentials.
        AddNode = "add_node",
    }
}

words! {
    /// How far a director is on its way into its cluster, or out of it.
    ClusterStanding {
        /// Its maps are not in force yet.
        Init = "init",
        /// Waiting for the others.
        Connect = "connecting",
        /// Getting what the others hold.
        Snapshot = "getting_snapshot",
        /// Getting what has changed meanwhile.
        CatchUp = "catching_up",
        /// In sync: it may have the VIPs.
        Ready = "ready",
        /// It has the VIPs.
        Serving = "serving",
        /// Leaving.
        Draining = "draining",
    }
}

words! {
    /// What was last found of a director that is not connected.
    PeerAbsence {
        /// Its host answers, its agent does not.
        Closed = "closed",
        /// Nothing comes: frozen, cut off or dead.
        Silent = "silent",
        /// Whoever answers is not the director, or breaks the rules.
        Improper = "improper",
    }
}

words! {
    /// Why a request was not done. The exit code follows from it: `no_agent` is 3, `timed_out` 4, `usage`
    /// 2, anything else 1.
    FailureKind {
        /// The request is understood and not done; nothing changed.
        Refused = "refused",
        /// The configuration has problems; nothing changed.
        InvalidConfig = "invalid_config",
        /// It names a service or server that is not configured.
        NotFound = "not_found",
        /// The agent has too many callers at this moment.
        Busy = "busy",
        /// It was not done in time.
        TimedOut = "timed_out",
        /// The request is not one the agent understands.
        BadRequest = "bad_request",
        /// The agent or the kernel failed.
        Internal = "internal",
        /// No agent answers.
        NoAgent = "no_agent",
        /// The command line is at fault.
        Usage = "usage",
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionClass, ServerState};

    #[test]
    fn every_known_word_survives_the_trip() {
        for class in ConnectionClass::KNOWN {
            let text = serde_json::to_string(class).unwrap();
            assert_eq!(&serde_json::from_str::<ConnectionClass>(&text).unwrap(), class);
            assert!(!matches!(ConnectionClass::from(class.as_str()), ConnectionClass::Other(_)));
        }
    }

    #[test]
    fn an_unknown_word_is_kept_as_it_is() {
        let state: ServerState = serde_json::from_str("\"warming\"").unwrap();
        assert_eq!(state, ServerState::Other("warming".to_owned()));
        assert_eq!(serde_json::to_string(&state).unwrap(), "\"warming\"");
    }

    #[test]
    fn padding_applies_to_the_word() {
        assert_eq!(format!("{:<6}|", ServerState::Up), "up    |");
    }
}
