//! Which server takes a connection that opens, where a service does not leave that to Maglev alone: by its scheduler, within
//! what its servers take, and where its client has been before ([`affinity`](crate::affinity)).
//!
//! Asked in the stages of misses alone, and only of a service whose entry has a word that says so. Whoever is chosen and is not
//! whom the miss table names is *diverged* (`select`).

use lb_common::{
    entry::{Load, Scheduler, Scheduling, ServerState, Service},
    identity::FlowId,
    lifecycle::Segment,
    net::{Addr, Port, Protocol, Tuple},
    pick::{Extent, IDS_PER_WORD, id_in_word},
    slot::ServerId,
    verdict::{Event, Verdict},
    word::veiled,
};

use crate::{director::Director, tables::Tables};

/// Candidates that a scheduler names, before those who are next in turn are asked.
const CANDIDATES: u64 = 4;
/// Turns that are looked at when all candidates are full, or have more than their share: a round, if that is shorter. Of
/// more servers, all of these may be full while another one is not.
const TURNS: u64 = 60;
/// No server of `least` has more than six fifths of its share, as long as another one can be found.
const BOUND: (u64, u64) = (6, 5);

/// Whom a connection is for, in one word, as a subprogram may return it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice(u64);

impl Choice {
    /// Nobody in particular: the tables decide.
    pub const OPEN: Self = Self(0);
    const FULL: u64 = 1 << 16;
    const REFUSED: u64 = 1 << 17;
    /// Everybody has as many connections as they may have.
    pub const NOBODY: Self = Self(Self::FULL);
    /// The client's own server has failed, and its clients are to be told.
    pub const NOT_NOW: Self = Self(Self::REFUSED);

    #[inline(always)]
    pub const fn of(number: u64) -> Self {
        Self(number & 0xffff)
    }

    /// The server's number; 0: nobody in particular.
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0 as u16 as u32
    }

    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// What [`word`](Self::word) gave.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }
}

/// How well somebody would do, the lower the better: what speaks against it, its load for its weight, how late it was named,
/// who it is.
struct Merit;

impl Merit {
    const NOBODY: u64 = u64::MAX;
    const FULL: u64 = 1 << 62;
    const ABOVE_BOUND: u64 = 1 << 61;
    const LOAD_SHIFT: u32 = 23;
    const ATTEMPT_SHIFT: u32 = 16;
    /// Loads are compared in parts of a connection, so that weights up to 1000 tell.
    const PARTS: u32 = 12;
    /// What has anything of this is taken only if there is nobody else.
    const FLAWS: u64 = Self::FULL | Self::ABOVE_BOUND;
}

/// The server that a packet which opens a connection is for, by its number; 0: whom the tables name. Or the verdict, if none
/// can take it.
#[inline(always)]
pub fn chosen<T: Tables>(
    tables: &T,
    number: u32,
    service: &Service,
    tuple: &Tuple,
    segment: Segment,
) -> Result<u32, Verdict> {
    if service.scheduling.load() == 0 || !matches!(segment, Segment::Syn | Segment::Datagram) {
        return Ok(0);
    }
    // One after the other, not one within the other, for the sake of the stack.
    let has_affinity = service.scheduling().has(Scheduling::AFFINITY);
    let seated = if has_affinity { tables.seated(number, tuple) } else { Choice::OPEN };
    let choice = if seated == Choice::NOT_NOW { seated } else { tables.choose(number, tuple, seated) };
    if has_affinity && seated == Choice::OPEN && choice.number() != 0 {
        tables.seat(number, tuple, choice.number());
    }
    match choice {
        Choice::NOBODY if service.flags.load() & Service::REJECT == 0 => Err(Verdict::DroppedFull),
        Choice::NOBODY | Choice::NOT_NOW if matches!(segment, Segment::Syn) => Err(Verdict::RepliedReset),
        Choice::NOBODY | Choice::NOT_NOW => Err(Verdict::RepliedUnreachable),
        choice => Ok(choice.number()),
    }
}

impl<T: Tables> Director<'_, T> {
    /// Whom a connection of this service is for, which begins with this packet; `seated`: who its client comes back to, and gets
    /// if there is room. It is counted for that server.
    #[inline(always)]
    pub fn choose(&self, number: u32, tuple: &Tuple, seated: Choice) -> Choice {
        let Some(service) = self.tables.service(number) else { return Choice::OPEN };
        let scheduling = service.scheduling();
        let mut choice = seated;
        if seated == Choice::OPEN || self.is_full(scheduling, seated.number()) {
            choice = self.scheduled(number, service, tuple, seated.number());
        }
        if scheduling.has(Scheduling::COUNTED) && self.tables.leaves_traces() {
            self.count_begun(service, choice.number());
        }
        choice
    }

    /// By the scheduler; not `but`, who is known to be full.
    #[inline(always)]
    fn scheduled(&self, number: u32, service: &Service, tuple: &Tuple, but: u32) -> Choice {
        let scheduling = service.scheduling();
        let rotates = scheduling.is(Scheduler::Rotation);
        let spread = self.spread(number, scheduling, tuple);
        let select = if rotates { service.turns.load() } else { service.select.load() };
        let least = if scheduling.is(Scheduler::Least) { 1 } else { 0 };
        let mut best = veiled(Merit::NOBODY, spread);
        let mut first = 0;
        for attempt in 0..CANDIDATES {
            let id = if rotates {
                self.turn(select, spread + attempt)
            } else {
                self.candidate(select, spread, attempt)
            };
            let merit = self.tables.merit(number, id, attempt);
            best = veiled(best.min(merit), spread);
            if attempt == 0 {
                first = veiled(merit, spread);
            }
            if best & Merit::FLAWS == 0 && attempt >= least {
                break;
            }
        }
        if best & Merit::FLAWS != 0 && scheduling.has(Scheduling::COUNTED) {
            let turns = service.turns.load();
            let round = Extent::from_word(turns).map_or(0, |extent| u64::from(extent.size()));
            for attempt in 0..TURNS {
                if attempt == round {
                    break;
                }
                let merit =
                    self.tables.merit(number, self.turn(turns, spread + attempt), CANDIDATES + attempt);
                best = veiled(best.min(merit), spread);
                if best & Merit::FLAWS == 0 {
                    break;
                }
            }
        }
        if best == Merit::NOBODY {
            return Choice::OPEN;
        }
        if best & Merit::FULL != 0 {
            self.tables.count(Event::Full);
            return Choice::NOBODY;
        }
        if but != 0 || first & Merit::FULL != 0 && first != Merit::NOBODY {
            self.tables.count(Event::Overflowed);
        }
        Choice::of(best)
    }

    /// What the candidates are named by: 32 bits of anything.
    #[inline(always)]
    fn spread(&self, number: u32, scheduling: Scheduling, tuple: &Tuple) -> u64 {
        if scheduling.is(Scheduler::Rotation) {
            return self.tables.next_turn(number);
        }
        if scheduling.is(Scheduler::Random) {
            return u64::from(self.tables.random());
        }
        let key = if scheduling.is(Scheduler::Source) {
            Tuple {
                client: tuple.client,
                vip: Addr::v4([0; 4]),
                client_port: Port::ANY,
                vip_port: Port::ANY,
                protocol: Protocol::Tcp,
            }
        } else {
            *tuple
        };
        self.settings.flow_id(&key).bits() & 0xffff_ffff
    }

    /// Whom the table at this extent names; 0: nobody.
    #[inline(always)]
    fn candidate(&self, extent: u64, spread: u64, attempt: u64) -> u32 {
        let Some(extent) = Extent::from_word(extent) else { return 0 };
        let (word, position) = extent.place(FlowId::from_bits(spread), attempt as u32);
        self.tables.ids(word).and_then(|word| id_in_word(word, position)).map_or(0, ServerId::index)
    }

    /// Whose turn it is; 0: nobody's.
    #[inline(always)]
    fn turn(&self, extent: u64, turn: u64) -> u32 {
        let Some(extent) = Extent::from_word(extent) else { return 0 };
        if extent.size() == 0 {
            return 0;
        }
        let index = (turn % u64::from(extent.size())) as u32;
        let word = self.tables.ids(extent.offset() + index / IDS_PER_WORD);
        word.and_then(|word| id_in_word(word, index % IDS_PER_WORD)).map_or(0, ServerId::index)
    }

    /// How well this server would do as the candidate that is named at this attempt ([`Merit`]).
    #[inline(always)]
    pub fn merit(&self, service: u32, id: u32, attempt: u64) -> u64 {
        let Some(service) = self.tables.service(service) else { return Merit::NOBODY };
        let scheduling = service.scheduling();
        let Some(server) = ServerId::new(id as u16).and_then(|id| self.tables.server(id)) else {
            return Merit::NOBODY;
        };
        if !ServerState::from_word(server.state.load()).takes_new() {
            return Merit::NOBODY;
        }
        let own = attempt << Merit::ATTEMPT_SHIFT | u64::from(id);
        if !scheduling.has(Scheduling::COUNTED) {
            return own;
        }
        let Some((its, load)) = self.load(id) else { return own };
        let full = if its.most.load() != 0 && load >= its.most.load() { Merit::FULL } else { 0 };
        if !scheduling.is(Scheduler::Least) {
            return own | full;
        }
        let weight = its.weight.load().max(1);
        let (total, weights) = self.total(service);
        // (load + 1) / weight beyond the bound times (total + 1) / weights. The first connection is nobody's too many.
        let above = load > 0 && (load + 1) * BOUND.1 * weights > BOUND.0 * (total + 1) * weight;
        let above = if above { Merit::ABOVE_BOUND } else { 0 };
        own | full | above | ((((load + 1) << Merit::PARTS) / weight) << Merit::LOAD_SHIFT)
    }

    /// A server's own entry, and how many connections it has in all lanes of its service.
    #[inline(always)]
    fn load(&self, id: u32) -> Option<(&Load, u64)> {
        let own = self.tables.load(id)?;
        Some((own, self.tables.load(own.home.load() as u32)?.now()))
    }

    /// Connections and weight of all servers of a service together.
    #[inline(always)]
    fn total(&self, service: &Service) -> (u64, u64) {
        let home = self.tables.service(service.total.home.load() as u32);
        home.map_or((0, 1), |home| (home.total.now(), home.total.weight.load()))
    }

    #[inline(always)]
    fn is_full(&self, scheduling: Scheduling, id: u32) -> bool {
        scheduling.has(Scheduling::COUNTED)
            && self.load(id).is_some_and(|(its, load)| its.most.load() != 0 && load >= its.most.load())
    }

    /// One more that the agent's last walk has not seen.
    #[inline(always)]
    fn count_begun(&self, service: &Service, id: u32) {
        if id != 0
            && let Some(own) = self.tables.load(id)
            && let Some(its) = self.tables.load(own.home.load() as u32)
        {
            its.begun.increment();
            if let Some(home) = self.tables.service(service.total.home.load() as u32) {
                home.total.begun.increment();
            }
        }
    }
}
