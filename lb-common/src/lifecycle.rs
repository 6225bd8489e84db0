//! How a connection's class moves on with each packet: pure, and the same for program and tests.
//!
//! Promotion needs evidence that a flood cannot fake cheaply: in NAT an answer of the server that is not a RST (and,
//! after a SYN-ACK, one more packet of the client); where only the client is seen, a packet in a later tick.
//! A RST or FIN can be forged from one side (RFC 5961), so *closing* is a suspicion, not a verdict: speech brings it back.

use crate::slot::Class;

/// What a packet says about the life of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// SYN without ACK: asks for a new connection.
    Syn,
    /// SYN with ACK: an answer, never a request.
    SynAck,
    Fin,
    Rst,
    /// Any other TCP segment.
    Data,
    /// UDP.
    Datagram,
}

impl Segment {
    /// RFC 9293 section 3.1: FIN 0x01, SYN 0x02, RST 0x04, ACK 0x10. RST outranks the rest, SYN outranks FIN.
    #[must_use]
    #[inline(always)]
    pub const fn of_tcp_flags(flags: u8) -> Self {
        if flags & 0x04 != 0 {
            Self::Rst
        } else if flags & 0x12 == 0x12 {
            Self::SynAck
        } else if flags & 0x02 != 0 {
            Self::Syn
        } else if flags & 0x01 != 0 {
            Self::Fin
        } else {
            Self::Data
        }
    }

    #[must_use]
    #[inline(always)]
    pub const fn is_syn(self) -> bool {
        matches!(self, Self::Syn)
    }
}

/// Which directions of a connection pass the director.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// NAT over TCP: both directions.
    Both,
    /// DR, tunnels and UDP: count on the client's packets alone.
    ClientOnly,
}

/// The class after a packet from the client. `later` says that a tick has passed since the entry was last written.
#[must_use]
#[inline(always)]
pub const fn after_client(class: Class, segment: Segment, later: bool, sight: Sight) -> Class {
    let one_sided = matches!(sight, Sight::ClientOnly);
    match (class, segment) {
        // A handshake begins (again): at the same server, and as untrusted as any other.
        (Class::New | Class::Closing, Segment::Syn) => Class::New,
        (_, Segment::Syn | Segment::SynAck) => class,
        (Class::New | Class::Answered, Segment::Rst) => class,
        (_, Segment::Rst) => Class::Closing,
        (Class::New, Segment::Fin) if one_sided && later => Class::Closing,
        (Class::New, Segment::Data | Segment::Datagram) if one_sided && later => Class::Established,
        (Class::New, _) => Class::New,
        (Class::Answered, Segment::Fin) => Class::HalfClosed,
        (Class::Answered, _) => Class::Established,
        (Class::Established, Segment::Fin) => {
            if one_sided {
                Class::Closing
            } else {
                Class::HalfClosed
            }
        }
        (Class::Established, _) => Class::Established,
        (Class::HalfClosed, Segment::Fin) => Class::Closing,
        (Class::HalfClosed, _) => Class::HalfClosed,
        // The last ACK of a clean close comes within the tick and must not bring the entry back.
        (Class::Closing, Segment::Data | Segment::Datagram) if later => Class::HalfClosed,
        (Class::Closing, _) => Class::Closing,
    }
}

/// The class after a packet from the server (NAT). `later` as above.
#[must_use]
#[inline(always)]
pub const fn after_server(class: Class, segment: Segment, later: bool) -> Class {
    match (class, segment) {
        (Class::New, Segment::SynAck) => Class::Answered,
        (_, Segment::Syn | Segment::SynAck) => class,
        // "Connection refused", or the answer to a stray packet: no evidence of a live connection.
        (Class::New | Class::Answered, Segment::Rst) => class,
        (_, Segment::Rst) => Class::Closing,
        (Class::New | Class::Answered | Class::Established, Segment::Fin) => Class::HalfClosed,
        (Class::New | Class::Answered, _) => Class::Established,
        (Class::Established, _) => Class::Established,
        (Class::HalfClosed, Segment::Fin) => Class::Closing,
        (Class::HalfClosed, _) => Class::HalfClosed,
        (Class::Closing, Segment::Data | Segment::Datagram) if later => Class::HalfClosed,
        (Class::Closing, _) => Class::Closing,
    }
}

/// Whether a connection has settled by this: both sides have spoken, which nobody knew before. One that speaks again after it
/// seemed to end has settled long ago.
#[must_use]
#[inline(always)]
pub const fn settles(before: Class, after: Class) -> bool {
    matches!(before, Class::New | Class::Answered) && matches!(after, Class::Established | Class::HalfClosed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_ack_is_not_a_syn() {
        assert!(Segment::of_tcp_flags(0x02).is_syn());
        assert!(!Segment::of_tcp_flags(0x12).is_syn());
        assert!(!Segment::of_tcp_flags(0x06).is_syn());
        assert_eq!(Segment::of_tcp_flags(0x14), Segment::Rst);
        assert_eq!(Segment::of_tcp_flags(0x11), Segment::Fin);
    }

    #[test]
    fn a_flood_from_one_side_never_looks_established() {
        // SYN and ACK pairs from made-up sources: the server answers SYN-ACK, then RST.
        let class = after_server(Class::New, Segment::SynAck, false);
        assert_eq!(class, Class::Answered);
        let class = after_client(class, Segment::Data, false, Sight::Both);
        assert_eq!(after_server(class, Segment::Rst, false), Class::Closing);
        // Bare ACKs, however often and late: the server answers RST.
        for later in [false, true] {
            assert_eq!(after_client(Class::New, Segment::Data, later, Sight::Both), Class::New);
        }
        assert_eq!(after_server(Class::New, Segment::Rst, false), Class::New);
        assert_eq!(after_client(Class::New, Segment::Data, false, Sight::ClientOnly), Class::New);
    }

    #[test]
    fn a_clean_close_ends_in_closing_and_stays() {
        let class = after_client(Class::Established, Segment::Fin, false, Sight::Both);
        assert_eq!(class, Class::HalfClosed);
        let class = after_server(class, Segment::Fin, false);
        assert_eq!(class, Class::Closing);
        assert_eq!(after_client(class, Segment::Data, false, Sight::Both), Class::Closing);
    }

    #[test]
    fn a_download_after_the_clients_fin_lives_on() {
        let mut class = after_client(Class::Established, Segment::Fin, false, Sight::Both);
        for _ in 0..10 {
            class = after_server(class, Segment::Data, true);
            class = after_client(class, Segment::Data, true, Sight::Both);
        }
        assert_eq!(class, Class::HalfClosed);
    }

    #[test]
    fn a_forged_reset_is_outlived() {
        let class = after_client(Class::Established, Segment::Rst, false, Sight::Both);
        assert_eq!(class, Class::Closing);
        assert_eq!(after_client(class, Segment::Data, true, Sight::Both), Class::HalfClosed);
    }
}
