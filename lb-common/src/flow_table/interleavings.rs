//! Every interleaving of two CPUs and the agent on the words they share, each operation as the program runs it. What must
//! hold whenever all have finished:
//!
//! 1. Nobody is lost: who was told that a connection has a place finds it there.
//! 2. No entry is of two connections: each word is one that somebody wrote whole.
//! 3. Ageing removes nobody who was seen again: a refresh that says it wrote has outlived the agent's sweep.
//! 4. What one CPU has decided, another's older knowledge does not undo: a moved connection stays at its new server.
//! 5. Who never gives way is never written over.
//!
//! All interleavings, without a bound on preemptions; loom leaves out only those that differ in nothing. Words are
//! sequentially consistent here: the table relies on no order between two of them, as each is a connection by itself.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering::SeqCst};
use loom::thread;

use super::*;
use crate::{identity::mix, slot::MIN_BUCKET_BITS};

/// The tick at which everything happens, and one so long before that what was seen then is over.
const NOW: u32 = 64 * 100;
const LONG_AGO: u32 = 64 * 50;
const LIMITS: Limits = Limits { new: 30, closing: 60, established: 14 };

/// A word that is explored, or one of somebody who never gives way.
enum Checked {
    Shared(AtomicU64),
    Fixed(u64),
}

impl Cell for Checked {
    fn load(&self) -> u64 {
        match self {
            Self::Shared(word) => word.load(SeqCst),
            Self::Fixed(word) => *word,
        }
    }

    fn replace(&self, seen: u64, new: u64) -> bool {
        match self {
            Self::Shared(word) => word.compare_exchange(seen, new, SeqCst, SeqCst).is_ok(),
            Self::Fixed(_) => panic!("somebody who never gives way was written over"),
        }
    }
}

/// One bucket for every number, so that all flows meet in it.
struct OneBucket([Checked; BUCKET_SLOTS]);

impl Memory for OneBucket {
    type Cell = Checked;
    fn bucket(&self, _: u32) -> Option<&[Checked; BUCKET_SLOTS]> {
        Some(&self.0)
    }
}

impl OneBucket {
    /// These words are shared; whoever has the other places stays there.
    fn of(shared: &[u64]) -> Arc<Self> {
        let stranger = Slot::fresh(server(99), 0xf_ffff, false, true, Now::at_tick(NOW));
        let fixed = stranger.with_class(Class::Established, Now::at_tick(NOW)).word();
        Arc::new(Self(core::array::from_fn(|i| {
            shared.get(i).map_or(Checked::Fixed(fixed), |word| Checked::Shared(AtomicU64::new(*word)))
        })))
    }

    fn table(&self) -> FlowTable<'_, Self> {
        FlowTable { memory: self, geometry: geometry() }
    }

    /// A new connection, whose server has its number.
    fn admit(&self, i: u16) -> Admission {
        self.table()
            .admit(flow(i), server(i), false, Now::at_tick(NOW), LIMITS, |victim, _| !victim.is_settled())
    }

    /// A packet of a connection: whether the entry was found, and written.
    fn packet(&self, i: u16) -> (bool, bool) {
        let entry = self.table().find(flow(i));
        let wrote =
            entry.as_ref().is_some_and(|entry| entry.refresh(entry.slot().class(), Now::at_tick(NOW)));
        (entry.is_some(), wrote)
    }

    /// The agent's sweep.
    fn sweep(&self) {
        for cell in &self.0 {
            let Checked::Shared(_) = cell else { continue };
            let word = cell.load();
            if Slot::from_word(word).is_some_and(|slot| slot.expired(Now::at_tick(NOW), LIMITS)) {
                let _ = cell.replace(word, 0);
            }
        }
    }

    fn server_of(&self, i: u16) -> Option<u16> {
        self.table().find(flow(i)).and_then(|entry| entry.slot().server()).map(ServerId::get)
    }

    /// Nobody has somebody else's server.
    fn is_whole(&self, known: &[u16]) {
        for cell in &self.0 {
            let Checked::Shared(_) = cell else { continue };
            let Some(slot) = Slot::from_word(cell.load()) else { continue };
            let whose = known.iter().find(|i| slot.word() & 0xf_ffff_ffff == geometry().tag(flow(**i)));
            let number = slot.server().map(ServerId::get);
            assert_eq!(number, whose.copied(), "an entry of nobody: {:x}", slot.word());
        }
    }
}

fn geometry() -> Geometry {
    Geometry::new(MIN_BUCKET_BITS).unwrap()
}

fn server(number: u16) -> ServerId {
    ServerId::new(number).unwrap()
}

fn flow(i: u16) -> FlowId {
    FlowId::from_bits(mix(u64::from(i)))
}

/// The word of a connection as it was last seen at this tick. In the bucket that is its second one as well as its first.
fn entry(i: u16, class: Class, diverged: bool, tick: u32) -> u64 {
    let seen = Now::at_tick(tick);
    Slot::fresh(server(i), geometry().tag(flow(i)), false, diverged, seen).with_class(class, seen).word()
}

fn has_place(admission: Admission) -> bool {
    admission.place().is_some()
}

#[test]
fn two_newcomers_and_the_agent_never_share_a_place() {
    loom::model(|| {
        let memory = OneBucket::of(&[0, 0]);
        let (cpu, agent) = (memory.clone(), memory.clone());
        let cpu = thread::spawn(move || cpu.admit(1));
        let agent = thread::spawn(move || agent.sweep());
        let mine = memory.admit(2);
        let theirs = cpu.join().unwrap();
        agent.join().unwrap();
        assert!(matches!((mine, theirs), (Admission::Stored(_), Admission::Stored(_))));
        assert_eq!((memory.server_of(1), memory.server_of(2)), (Some(1), Some(2)));
        memory.is_whole(&[1, 2]);
    });
}

#[test]
fn of_two_newcomers_for_one_place_who_was_told_so_has_it() {
    loom::model(|| {
        let memory = OneBucket::of(&[0]);
        let (cpu, agent) = (memory.clone(), memory.clone());
        let cpu = thread::spawn(move || cpu.admit(1));
        let agent = thread::spawn(move || agent.sweep());
        let mine = memory.admit(2);
        let theirs = cpu.join().unwrap();
        agent.join().unwrap();
        // The second may find the first still new, and take its place in turn.
        let last = memory.server_of(1).or(memory.server_of(2));
        let told = [(theirs, 1), (mine, 2)].into_iter().filter(|(admission, _)| has_place(*admission));
        assert!(told.map(|(_, i)| i).any(|i| last == Some(i)), "{mine:?}, {theirs:?}, found {last:?}");
        memory.is_whole(&[1, 2]);
    });
}

#[test]
fn two_cpus_that_meet_one_connection_at_once_agree_afterwards() {
    loom::model(|| {
        let memory = OneBucket::of(&[0, 0]);
        let cpu = memory.clone();
        let cpu = thread::spawn(move || cpu.admit(1));
        let mine = memory.admit(1);
        assert!(has_place(mine) && has_place(cpu.join().unwrap()));
        assert_eq!((memory.server_of(1), memory.packet(1).0), (Some(1), true));
        memory.is_whole(&[1]);
    });
}

#[test]
fn a_packet_does_not_write_over_who_took_its_connections_place() {
    loom::model(|| {
        let memory = OneBucket::of(&[entry(3, Class::New, false, NOW - 1)]);
        let (cpu, agent) = (memory.clone(), memory.clone());
        let cpu = thread::spawn(move || cpu.packet(3));
        let agent = thread::spawn(move || agent.sweep());
        let newcomer = memory.admit(2);
        let _ = cpu.join().unwrap();
        agent.join().unwrap();
        let expected = if has_place(newcomer) { Some(2) } else { Some(3) };
        assert_eq!(memory.server_of(2).or(memory.server_of(3)), expected, "{newcomer:?}");
        memory.is_whole(&[2, 3]);
    });
}

#[test]
fn a_connection_that_speaks_as_it_expires_is_not_swept_away() {
    loom::model(|| {
        let memory = OneBucket::of(&[entry(3, Class::Established, true, LONG_AGO)]);
        let (cpu, agent) = (memory.clone(), memory.clone());
        let cpu = thread::spawn(move || cpu.packet(3));
        let agent = thread::spawn(move || agent.sweep());
        let newcomer = memory.admit(2);
        let (found, wrote) = cpu.join().unwrap();
        agent.join().unwrap();
        if wrote {
            assert_eq!(memory.server_of(3), Some(3), "seen again, and gone");
        }
        if has_place(newcomer) {
            assert_eq!(memory.server_of(2), Some(2), "{newcomer:?}, and gone");
        } else {
            assert!(!found || wrote, "nobody took its place, yet it was not refreshed");
        }
        memory.is_whole(&[2, 3]);
    });
}

#[test]
fn a_late_refresh_does_not_take_a_connection_back_to_its_dead_server() {
    loom::model(|| {
        let memory = OneBucket::of(&[entry(3, Class::Established, false, NOW - 64 * 5)]);
        let cpu = memory.clone();
        let cpu = thread::spawn(move || cpu.packet(3));
        let entry = memory.table().find(flow(3)).unwrap();
        let moved = entry.move_to(server(4), false, Now::at_tick(NOW));
        let _ = cpu.join().unwrap();
        assert_eq!(memory.server_of(3), Some(if moved { 4 } else { 3 }));
    });
}

/// The negative control: an agent that clears what it has not looked at destroys a newcomer, and the exploration finds it.
#[test]
#[should_panic(expected = "and gone")]
fn a_blind_clear_would_be_found() {
    loom::model(|| {
        let memory = OneBucket::of(&[entry(3, Class::Established, true, LONG_AGO)]);
        let agent = memory.clone();
        let agent = thread::spawn(move || {
            let Checked::Shared(cell) = &agent.0[0] else { return };
            let slot = Slot::from_word(cell.load(SeqCst));
            if slot.is_some_and(|slot| slot.expired(Now::at_tick(NOW), LIMITS)) {
                cell.store(0, SeqCst);
            }
        });
        let newcomer = memory.admit(2);
        agent.join().unwrap();
        assert!(!has_place(newcomer) || memory.server_of(2) == Some(2), "{newcomer:?}, and gone");
    });
}
