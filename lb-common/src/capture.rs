//! What a capture asks for, and the form in which a captured frame travels to the agent.

use crate::{
    entry::SharedAddr,
    net::{Addr, Port},
    trail::Trail,
    word::Word,
};

/// Bytes that are kept of a frame, before and after each.
pub const SNAP: usize = 2048;

/// An end that a frame must have, as it came or as it left.
#[repr(C)]
#[derive(Debug)]
pub struct End {
    address: SharedAddr,
    /// The port and [`PORT`](Self::PORT), or 0 for any; [`OFF`](Self::OFF) if no such end is asked for.
    rest: Word,
}

impl End {
    const PORT: u64 = 1 << 16;
    const OFF: u64 = 1 << 17;

    pub fn set(&self, wanted: Option<(Addr, Option<Port>)>) {
        let Some((address, port)) = wanted else { return self.rest.store(Self::OFF) };
        self.address.store(address);
        self.rest.store(port.map_or(0, |port| u64::from(port.raw()) | Self::PORT));
    }

    #[inline(always)]
    pub fn is_asked_for(&self) -> bool {
        self.rest.load() & Self::OFF == 0
    }

    /// Whether this is the end. `port`: see [`Filter::ends_at`].
    #[inline(always)]
    fn is(&self, address: &Addr, port: u64) -> bool {
        let rest = self.rest.load();
        let port_agrees = rest & Self::PORT == 0 || port == rest & 0xffff;
        port_agrees && self.is_asked_for() && self.address.load() == *address
    }
}

/// The map value: what is captured, and until when. Each loading of the object has its own.
#[repr(C)]
#[derive(Debug)]
pub struct Filter {
    /// By the machine's monotonic clock, ns: from then on the program only serves, whatever has become of the agent.
    pub until: Word,
    /// A bit for each verdict.
    pub verdicts: Word,
    pub client: End,
    pub vip: End,
    /// 0: whatever the service.
    pub by_service: Word,
    /// A bit for each service number.
    pub services: [Word; 1024],
    /// Frames for which there was no room: so many at least.
    pub lost: Word,
    reserved: Word,
}

impl Filter {
    /// Bits of what [`ends`](Head::ends) says.
    pub const CLIENT: u64 = 1;
    pub const VIP: u64 = 2;

    /// The ends that are asked for.
    #[inline(always)]
    pub fn ends(&self) -> u64 {
        (u64::from(self.client.is_asked_for()) * Self::CLIENT)
            | (u64::from(self.vip.is_asked_for()) * Self::VIP)
    }

    /// Which of them is this. `port`: as it lies on the wire, or [`PORTLESS`]; no `Option`, whose two words the verifier would not
    /// find both.
    #[inline(always)]
    pub fn ends_at(&self, address: &Addr, port: u64) -> u64 {
        (u64::from(self.client.is(address, port)) * Self::CLIENT)
            | (u64::from(self.vip.is(address, port)) * Self::VIP)
    }

    /// Whether a frame with this verdict's number is wanted that has these ends, and belongs to this service (`NOBODYS`: to none).
    #[inline(always)]
    pub fn wants(&self, verdict: u64, ends: u64, service: u64) -> bool {
        let by_verdict = self.verdicts.load() >> (verdict & 63) & 1 == 1;
        let by_service = self.by_service.load() == 0
            || self
                .services
                .get(service as usize / 64)
                .is_some_and(|word| word.load() >> (service % 64) & 1 == 1);
        let wanted = self.ends();
        by_verdict && by_service && ends & wanted == wanted
    }
}

/// The port of a packet that has none.
pub const PORTLESS: u64 = u64::MAX;

/// No service's number.
pub const NOBODYS: u64 = u64::MAX;

/// What a record of the ring begins with; the frame as it came follows, then as it left.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// By the machine's monotonic clock, ns; 0: nothing is captured.
    pub at: u64,
    /// The index of the interface it came in through.
    pub ingress: u64,
    /// On the wire, bytes.
    pub length: u64,
    /// How many of them are here.
    pub kept: u64,
    /// As it left; 0 if it did not.
    pub length_after: u64,
    pub kept_after: u64,
    /// What was noted on the way: the words of a [`Trail`].
    pub trail: [u64; Trail::WORDS],
    /// Bits of [`Filter`]: those that were found so far.
    pub ends: u64,
    /// What the kernel is to do with the frame.
    pub action: u64,
}

/// The per-CPU map value in which a record is put together.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    pub head: Head,
    pub bytes: [u8; 2 * SNAP],
}

/// What came out of the ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured<'a> {
    pub head: Head,
    pub before: &'a [u8],
    /// `None`: it was not sent.
    pub after: Option<&'a [u8]>,
}

impl Head {
    pub const SIZE: usize = size_of::<Self>();
    const WORDS: usize = Self::SIZE / 8;

    const fn from_array(words: [u64; Self::WORDS]) -> Self {
        let [at, ingress, length, kept, length_after, kept_after, a, b, c, d, ends, action] = words;
        Self { at, ingress, length, kept, length_after, kept_after, trail: [a, b, c, d], ends, action }
    }
}

impl<'a> Captured<'a> {
    /// `None` for what is no record.
    #[must_use]
    pub fn read(record: &'a [u8]) -> Option<Self> {
        let (head, bytes) = record.split_at_checked(Head::SIZE)?;
        let mut words = [0; Head::WORDS];
        for (word, bytes) in words.iter_mut().zip(head.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().ok()?);
        }
        let head = Head::from_array(words);
        let (before, rest) = bytes.split_at_checked(usize::try_from(head.kept).ok()?)?;
        let after = rest.get(..usize::try_from(head.kept_after).ok()?)?;
        Some(Self { head, before, after: (head.length_after != 0).then_some(after) })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn filter() -> std::boxed::Box<Filter> {
        let word = || Word::new(0);
        let end = || End { address: SharedAddr::default(), rest: Word::new(End::OFF) };
        std::boxed::Box::new(Filter {
            until: word(),
            verdicts: Word::new(u64::MAX),
            client: end(),
            vip: end(),
            by_service: word(),
            services: [const { Word::new(0) }; 1024],
            lost: word(),
            reserved: word(),
        })
    }

    #[test]
    fn what_is_not_asked_for_does_not_count() {
        let filter = filter();
        assert!(filter.wants(3, 0, NOBODYS));
        filter.verdicts.store(1 << 3);
        assert!(filter.wants(3, 0, NOBODYS) && !filter.wants(4, 0, NOBODYS));
        filter.by_service.store(1);
        assert!(!filter.wants(3, 0, NOBODYS) && !filter.wants(3, 0, 70));
        filter.services[1].store(1 << 6);
        assert!(filter.wants(3, 0, 70) && !filter.wants(3, 0, 6));
    }

    #[test]
    fn every_end_that_is_asked_for_must_be_there() {
        let filter = filter();
        let (client, vip) = (Addr::v4([192, 0, 2, 7]), Addr::v4([10, 77, 1, 100]));
        let (http, other) = (Port::from_host(80), Port::from_host(81));
        filter.client.set(Some((client, None)));
        filter.vip.set(Some((vip, Some(http))));
        let at = |address: &Addr, port: Option<Port>| {
            filter.ends_at(address, port.map_or(PORTLESS, |port| u64::from(port.raw())))
        };
        assert_eq!((at(&client, Some(http)), at(&client, None)), (Filter::CLIENT, Filter::CLIENT));
        assert_eq!((at(&vip, Some(http)), at(&vip, Some(other)), at(&vip, None)), (Filter::VIP, 0, 0));
        assert!(filter.wants(0, Filter::CLIENT | Filter::VIP, 0));
        assert!(!filter.wants(0, Filter::CLIENT, 0) && !filter.wants(0, Filter::VIP, 0));
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_nothing_else_is() {
        let head = Head {
            at: 1,
            length: 100,
            kept: 3,
            length_after: 90,
            kept_after: 2,
            trail: [7, 0, 0, 0],
            ..Head::default()
        };
        let words = [1, 0, 100, 3, 90, 2, 7, 0, 0, 0, 0, 0_u64];
        let record: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).chain([1, 2, 3, 4, 5]).collect();
        let read = Captured::read(&record).expect("a record");
        assert_eq!(read, Captured { head, before: &[1, 2, 3], after: Some(&[4, 5]) });
        for length in 0..record.len() {
            assert_eq!(Captured::read(&record[..length]), None);
        }
    }
}
