//! VLAN tags: by which interface a tagged frame came, and which tags it wears when it leaves.
//!
//! A frame that leaves by the VLAN it came by keeps its tags bit for bit. Towards another it gets the tags of the interface
//! it leaves by, and keeps its priorities (IEEE 802.1Q clause 9.6). Where their number changes, the frame's start moves: the
//! last thing done to it.

use lb_common::{
    net::PortNumber,
    verdict::Verdict,
    wire::{Tag, Tags, Wire},
};

use crate::{
    Outcome,
    frame::Frame,
    headers::{Ethernet, Macs, Vlan, VlanTag},
    parse::Packet,
    tables::Tables,
    travelling::travels_as_word,
};

/// Where a tag's control information lies, by the number of tags around it. Its EtherType lies before it.
const FIRST: usize = size_of::<Ethernet>();
const SECOND: usize = FIRST + size_of::<Vlan>();
/// Priority and drop eligibility.
const PRIORITY: u16 = 0xf000;

/// Whether this EtherType, as it lies in memory, announces a tag.
#[inline(always)]
pub const fn is_one(ethertype: u16) -> bool {
    ethertype == Tag::CUSTOMER_TYPE || ethertype == Tag::SERVICE_TYPE
}

/// What stands before the IP header of a tagged frame, in one word, as a subprogram may return it.
///
/// ```text
///  63     40 39       32 31      16 15         0
/// +---------+-----------+----------+------------+
/// |  flags  |  length   |   port   | ethertype  |
/// +---------+-----------+----------+------------+
/// ```
#[derive(Clone, Copy)]
pub struct Head(u64);

travels_as_word!(Head);

impl Head {
    const ENDS: u64 = 1 << 40;
    const TAGGED: u64 = 1 << 41;

    /// That of a frame without tags.
    #[inline(always)]
    pub const fn bare(ethertype: u16) -> Self {
        Self(ethertype as u64 | (FIRST as u64) << 32)
    }

    #[inline(always)]
    const fn ended(verdict: Verdict) -> Self {
        Self(verdict as u64 | Self::ENDS)
    }

    /// # Errors
    /// The verdict of a frame that goes no further.
    #[inline(always)]
    pub fn proceed(self) -> Result<Self, Outcome> {
        if self.0 & Self::ENDS == 0 { Ok(self) } else { Err(Outcome::ended(self.0 as u32)) }
    }

    /// What the innermost tag announces, as it lies in memory.
    #[inline(always)]
    pub const fn ethertype(self) -> u16 {
        self.0 as u16
    }

    /// By which interface the frame came, if it has tags.
    #[inline(always)]
    pub const fn port(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// 1 if there are any.
    #[inline(always)]
    pub const fn tagged(self) -> u64 {
        (self.0 / Self::TAGGED) & 1
    }

    /// Bytes before the IP header.
    #[inline(always)]
    pub const fn length(self) -> u64 {
        self.0 >> 32 & 0xff
    }
}

/// Reads a tagged frame's tags.
#[inline(always)]
pub fn read<T: Tables>(frame: &Frame<'_>, tables: &T) -> Head {
    let worn = Worn::by(frame);
    if worn == Worn::CUT_SHORT {
        return Head::ended(Verdict::PassedMalformed);
    }
    let mut port = base(tables);
    let tags = worn.tags();
    if tags != Tags::NONE {
        match tables.vlan(&Wire { device: port, tags }) {
            Some(index) => port = index,
            None => return Head::ended(Verdict::PassedVlan),
        }
    }
    let length = FIRST as u64 + u64::from(worn.count()) * size_of::<Vlan>() as u64;
    let port = u64::from(PortNumber::of_interface(port).index());
    Head(u64::from(worn.announced()) | port << 16 | length << 32 | Head::TAGGED)
}

/// By which interface the packet came.
#[inline(always)]
pub fn port<T: Tables>(packet: &Packet<'_>, tables: &T) -> PortNumber {
    if packet.shape.is_tagged() { packet.shape.port() } else { PortNumber::of_interface(base(tables)) }
}

/// The interface of the frames that come in here without a tag: the device itself, or the bond it is a member of.
#[inline(always)]
fn base<T: Tables>(tables: &T) -> u32 {
    let ingress = tables.ingress();
    match tables.interface(PortNumber::of_interface(ingress)) {
        Some(interface) if interface.index.load() == u64::from(ingress) => interface.wire().device,
        _ => ingress,
    }
}

/// Gives the frame the tags of the interface it leaves by, where they may be others than it has. Nothing may look at the
/// frame through older views afterwards.
#[inline(always)]
pub fn finish<T: Tables>(outcome: Outcome, tables: &T) -> Outcome {
    match outcome.redressed() {
        Some(port) if !tables.dress(port) => Verdict::DroppedNoHeadroom.into(),
        _ => outcome,
    }
}

/// Puts on the tags of the interface by which the frame leaves. Whether it could be done.
#[inline(always)]
pub fn dress<T: Tables>(tables: &T, port: PortNumber) -> bool {
    let Some(to) = tables.interface(port).map(|interface| interface.wire().tags) else { return false };
    let Some(frame) = tables.moved(0) else { return false };
    let worn = Worn::by(&frame);
    if worn.tags() == to {
        return true;
    }
    let Some(macs) = frame.view::<Macs>(0).map(Macs::get) else { return false };
    let more = (to.count() as i32 - worn.count() as i32) * size_of::<Vlan>() as i32;
    let Some(frame) = tables.moved(more) else { return false };
    let Some(there) = frame.view::<Macs>(0) else { return false };
    there.set(macs);
    // A tag that is new has the priority of the outermost there was.
    let inner = if worn.count() > 1 { worn.inner() } else { worn.outer() };
    to.count() == 0
        || put(&frame, FIRST, to.outer(), worn.outer())
            && (to.count() == 1 || put(&frame, SECOND, to.inner(), inner))
}

/// Writes a tag with this priority.
#[inline(always)]
fn put(frame: &Frame<'_>, at: usize, tag: Tag, priority: u16) -> bool {
    let Some(place) = frame.view::<VlanTag>(at - size_of_val(&tag)) else { return false };
    place.ethertype.set_raw(tag.ethertype());
    place.control.set((tag.id() | priority & PRIORITY).to_be_bytes());
    true
}

/// The tags a frame has, those that only tell a priority included: in one word, so that no part of it is undefined where
/// there are fewer.
///
/// ```text
///  63   52 51   50 49   48 47       32 31     16 15     0
/// +-------+-------+-------+-----------+---------+---------+
/// |       | kinds | count | announced |  inner  |  outer  |
/// +-------+-------+-------+-----------+---------+---------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
struct Worn(u64);

impl Worn {
    const CUT_SHORT: Self = Self(u64::MAX);
    const ONE: u64 = 1 << 48;
    const OUTER_SERVICE: u64 = 1 << 50;
    const INNER_SERVICE: u64 = 1 << 51;

    /// A third tag is what the second announces.
    #[inline(always)]
    fn by(frame: &Frame<'_>) -> Self {
        let Some(link) = frame.view::<Ethernet>(0) else { return Self::CUT_SHORT };
        let ethertype = link.ethertype.raw();
        if !is_one(ethertype) {
            return Self(u64::from(ethertype) << 32);
        }
        let Some(first) = frame.view::<Vlan>(FIRST) else { return Self::CUT_SHORT };
        let service = if ethertype == Tag::SERVICE_TYPE { Self::OUTER_SERVICE } else { 0 };
        let outer = u64::from(first.control.number()) | Self::ONE | service;
        let ethertype = first.ethertype.raw();
        if !is_one(ethertype) {
            return Self(outer | u64::from(ethertype) << 32);
        }
        let Some(second) = frame.view::<Vlan>(SECOND) else { return Self::CUT_SHORT };
        let service = if ethertype == Tag::SERVICE_TYPE { Self::INNER_SERVICE } else { 0 };
        let inner = u64::from(second.control.number()) << 16 | Self::ONE | service;
        Self((outer + inner) | u64::from(second.ethertype.raw()) << 32)
    }

    #[inline(always)]
    const fn outer(self) -> u16 {
        self.0 as u16
    }

    #[inline(always)]
    const fn inner(self) -> u16 {
        (self.0 >> 16) as u16
    }

    #[inline(always)]
    const fn announced(self) -> u16 {
        (self.0 >> 32) as u16
    }

    #[inline(always)]
    const fn count(self) -> u32 {
        (self.0 >> 48 & 3) as u32
    }

    #[inline(always)]
    const fn tags(self) -> Tags {
        let outer = Tag::on_wire(self.outer(), self.0 & Self::OUTER_SERVICE != 0);
        Tags::of(outer, Tag::on_wire(self.inner(), self.0 & Self::INNER_SERVICE != 0))
    }
}
