//! What a packet asks on its way: in the kernel a look-up each, or a call.

use std::cell::Cell;

/// The questions of [`Tables`](lb_ebpf::tables::Tables), and the stages.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    Bucket,
    Leases,
    Seats,
    Replicas,
    Settings,
    Clock,
    Gate,
    Service,
    Server,
    Tunnel,
    Ids,
    Load,
    Affinity,
    Sitter,
    Limits,
    Sources,
    Paths,
    Notes,
    Interface,
    Pool,
    Tenant,
    Caller,
    Count,
    CountIncident,
    CountConnection,
    CountPacket,
    Listener,
    Sharers,
    IsLocal,
    Rule,
    QuicServer,
    Member,
    Random,
    MonotonicNs,
    Vlan,
    Route,
    FrameLength,
    Trim,
    Moved,
    Announce,
    Way,
    /// Handing over to another program.
    Stage,
}

impl Question {
    pub const ALL: [Self; 42] = [
        Self::Bucket,
        Self::Leases,
        Self::Seats,
        Self::Replicas,
        Self::Settings,
        Self::Clock,
        Self::Gate,
        Self::Service,
        Self::Server,
        Self::Tunnel,
        Self::Ids,
        Self::Load,
        Self::Affinity,
        Self::Sitter,
        Self::Limits,
        Self::Sources,
        Self::Paths,
        Self::Notes,
        Self::Interface,
        Self::Pool,
        Self::Tenant,
        Self::Caller,
        Self::Count,
        Self::CountIncident,
        Self::CountConnection,
        Self::CountPacket,
        Self::Listener,
        Self::Sharers,
        Self::IsLocal,
        Self::Rule,
        Self::QuicServer,
        Self::Member,
        Self::Random,
        Self::MonotonicNs,
        Self::Vlan,
        Self::Route,
        Self::FrameLength,
        Self::Trim,
        Self::Moved,
        Self::Announce,
        Self::Way,
        Self::Stage,
    ];

    /// Whether it costs a call in the kernel: helpers, tail calls, and maps that are no arrays. Look-ups in arrays the compiler of
    /// the kernel writes out.
    #[must_use]
    pub const fn is_a_call(self) -> bool {
        self as u8 >= Self::Listener as u8
    }
}

/// How often each was asked.
pub struct Asked([Cell<u32>; Question::ALL.len()]);

impl Default for Asked {
    fn default() -> Self {
        Self([const { Cell::new(0) }; Question::ALL.len()])
    }
}

impl Asked {
    pub(super) fn note(&self, question: Question) {
        let count = &self.0[question as usize];
        count.set(count.get().wrapping_add(1));
    }

    /// What was asked since the last call, which is forgotten by it.
    pub fn take(&self) -> Vec<(Question, u32)> {
        let counts = Question::ALL.map(|question| (question, self.0[question as usize].take()));
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}
