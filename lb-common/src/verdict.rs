//! How a packet's way through the data path ends: exactly one verdict each, counted once.
//!
//! Numbers are part of the ABI: never reused, never renumbered. Names are part of the interface.

/// What the kernel is told to do with the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Pass,
    Drop,
    /// Leaves by XDP_TX or redirect.
    Send,
}

macro_rules! verdicts {
    ($($number:literal $name:ident $text:literal $action:ident $meaning:literal;)*) => {
        /// One ending of a packet's way. The action and the meaning of each are fixed.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Verdict {
            $(#[doc = $meaning] $name = $number,)*
        }

        impl Verdict {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in counters, JSON and fixtures.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            #[must_use]
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self { $(Self::$name => Action::$action,)* }
            }
        }
    };
}

verdicts! {
    0 Aborted "dropped_internal" Drop "A map of the data path was missing an entry that must be there.";
    1 ForwardedNat "forwarded_nat" Send "Client to real server, destination rewritten.";
    2 ForwardedNatReply "forwarded_nat_reply" Send "Real server to client, source rewritten to the VIP.";
    3 ForwardedDr "forwarded_dr" Send "Client to real server by its MAC address, nothing rewritten above layer 2.";
    4 RepliedReset "replied_reset" Send "A SYN for a service without a usable server, or a segment to a lost one, was answered with RST.";
    5 PassedNotIp "passed_not_ip" Pass "Not IP (ARP, LLDP, ...).";
    6 DroppedMartian "dropped_martian" Drop "To a service from an address that no client can have (the VIP itself, loopback, multicast, none).";
    7 PassedNotOurs "passed_not_ours" Pass "Neither to a VIP nor from a real server.";
    8 PassedNoService "passed_no_service" Pass "To a VIP, but no service listens on that port and protocol.";
    9 PassedNotBalanced "passed_not_balanced" Pass "To a VIP, but neither TCP, UDP, an ICMP error nor a ping to answer.";
    10 PassedMalformed "passed_malformed" Pass "Headers that contradict themselves or the frame; the kernel judges.";
    11 PassedLocal "passed_local" Pass "From a real server to the director itself, such as a health check's answer.";
    12 PassedUnexplained "passed_unexplained" Pass "From a real server, but no connection explains it: its own traffic.";
    13 DroppedFragment "dropped_fragment" Drop "A fragment to a VIP whose datagram's first one was not seen, or is too small to tell its connection.";
    14 DroppedTtl "dropped_ttl" Drop "Time to live ran out at the director.";
    15 DroppedNoServer "dropped_no_server" Drop "The service has no usable server.";
    16 DroppedNoNextHop "dropped_no_next_hop" Drop "The way to the real server or back to the client is not known.";
    17 DroppedNotServing "dropped_not_serving" Drop "Unexplained, and this director does not serve (yet).";
    18 ForwardedIcmp "forwarded_icmp" Send "An ICMP error about a packet of the VIP, to the server of the connection it quotes.";
    19 ForwardedIcmpReply "forwarded_icmp_reply" Send "An ICMP error about a packet to a real server, to the client of the connection it quotes.";
    20 RepliedEcho "replied_echo" Send "A ping of a VIP that has a usable server was answered.";
    21 PassedIcmpUnmatched "passed_icmp_unmatched" Pass "An ICMP error to a VIP that quotes no connection of its services.";
    22 PassedSctp "passed_sctp" Pass "SCTP to a VIP: its associations have several addresses, so the kernel gets it.";
    23 PassedVlan "passed_vlan" Pass "Carries VLAN tags that none of the configured interfaces has.";
    24 DroppedNoHeadroom "dropped_no_headroom" Drop "The driver left no room in front of the frame for one more VLAN tag, or for the headers of a tunnel.";
    25 DroppedDenied "dropped_denied" Drop "To a service whose lists do not admit the source.";
    26 DroppedRateSource "dropped_rate_source" Drop "The source has used up what the service allows each source in a second.";
    27 DroppedRateService "dropped_rate_service" Drop "A new connection beyond those that the service takes in a second.";
    28 ForwardedTunnel "forwarded_tunnel" Send "Client to real server, put into a packet of the director's own.";
    29 DroppedTooBig "dropped_too_big" Drop "Does not fit into the tunnel to the real server, and the sender could not be told.";
    30 RepliedTooBig "replied_too_big" Send "A client's packet that does not fit into the tunnel to its server was answered: send smaller ones.";
    31 PassedPathMtu "passed_path_mtu" Pass "A router said that less fits through a tunnel than was known; senders are told so from now on.";
    32 RepliedTimeExceeded "replied_time_exceeded" Send "Time to live ran out at the director, and the client was told.";
    33 RepliedUnreachable "replied_unreachable" Send "A datagram for a service without a usable server was answered: port unreachable.";
    34 DroppedNoPort "dropped_no_port" Drop "Full NAT has no port to send this connection from: the candidates are taken, or rest.";
    35 ForwardedFullNat "forwarded_fullnat" Send "Client to real server, source and destination rewritten.";
    36 ForwardedFullNatReply "forwarded_fullnat_reply" Send "Real server to client, source rewritten to the VIP and destination to the client.";
    37 DroppedFull "dropped_full" Drop "Every server of the service has as many connections as it may have, and nobody is told.";
}

/// Room in the counters for verdicts to come.
pub const VERDICT_LIMIT: u32 = 64;

macro_rules! events {
    ($($number:literal $name:ident $text:literal $meaning:literal;)*) => {
        /// Something worth counting that is not the end of a packet.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Event {
            $(#[doc = $meaning] $name = $number,)*
        }

        impl Event {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

events! {
    0 Stored "stored" "A connection took a free or expired place in the flow table.";
    1 EvictedNew "evicted_new" "A connection took the place of one that was still new.";
    2 EvictedClosing "evicted_closing" "A connection took the place of one that was closing.";
    3 EvictedEstablished "evicted_established" "A connection took the place of an idle one that the miss table finds again.";
    4 Homeless "homeless" "No place in the flow table: forwarded by the miss table.";
    5 MissNotSyn "miss_not_syn" "A packet amid a connection had no entry and was forwarded by the miss table.";
    6 MissTableDead "miss_table_dead" "The miss table named a server that is down or gone; the select table decided.";
    7 Reselected "reselected" "An entry's server was down or gone, so the connection was given another.";
    8 NextCandidate "next_candidate" "Two VIPs would have become one tuple at the server; the next candidate was taken.";
    9 DerivedReply "derived_reply" "A reply without an entry was explained by the tables.";
    10 NextHopByFib "next_hop_by_fib" "The kernel's routing decided the way, because the agent had not (lately).";
    11 PathLearned "path_learned" "The way back to a client was learned from its packet.";
    12 Mismatch "mismatch" "An entry's server belonged to another service, so the entry was not believed.";
    13 FragmentNoted "fragment_noted" "It was noted where a datagram's first fragment goes.";
    14 FragmentFollowed "fragment_followed" "A later fragment followed its datagram's first one.";
    15 FragmentUnknown "fragment_unknown" "A fragment to a VIP or from a real server whose datagram's first one is not noted.";
    16 QuicById "quic_by_id" "A packet to a service of QUIC went to the server that its connection id names.";
    17 QuicByFlow "quic_by_flow" "A packet to a service of QUIC named no usable server and went the way of its flow.";
    18 Overflowed "overflowed" "The server that a connection was for has as many as it may have; another one got it.";
    19 AffinityFollowed "affinity_followed" "A client's connection went to the server where its earlier ones are.";
    20 AffinityNoted "affinity_noted" "It was noted to which server a client comes back.";
    21 AffinityLost "affinity_lost" "The server that a client came back to takes no new connections; another one got it.";
    22 Full "full" "Every server of the service has as many connections as it may have: nobody could take another one.";
    23 ByReplica "by_replica" "A packet of a connection without an entry went the way that another director's entry had gone.";
    24 Adopted "adopted" "A connection that another director held took a place in the flow table.";
    25 Unannounced "unannounced" "There was no room to tell the agent of a connection that has settled, so other directors hear of it later.";
}

/// Room in the counters for events to come.
pub const EVENT_LIMIT: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_names_say_the_action() {
        for (i, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, i);
            let prefix = match verdict.action() {
                Action::Pass => "passed_",
                Action::Drop => "dropped_",
                Action::Send => "",
            };
            assert!(verdict.name().starts_with(prefix), "{}", verdict.name());
        }
        assert!(Verdict::ALL.len() < VERDICT_LIMIT as usize);
        assert!(Event::ALL.len() < EVENT_LIMIT as usize);
    }
}
