//! What a CPU counts for itself, to do now and then what is too dear for every packet.

use crate::clock::{LOOK_EVERY, Now};

/// The only entry of `pulse`, one for each CPU.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pulse {
    packets: u64,
    /// The tick in which `answers` were given, plus one.
    tick: u64,
    answers: u64,
}

impl Pulse {
    /// Messages of its own making that a CPU may send in a tick (RFC 4443 section 2.4 (f)).
    pub const ANSWERS: u64 = 1000;

    /// Counts a packet of ours, and says whether it is one of those that look at the machine's clock although they need
    /// not. Of ours alone, and of whatever mode: where only one is used, the count of another would stand still.
    #[inline(always)]
    pub fn is_time_to_look(&mut self) -> bool {
        let packets = self.packets;
        self.packets = packets.wrapping_add(1);
        packets.is_multiple_of(LOOK_EVERY)
    }

    /// Whether one more message may be sent in this tick; counts it.
    #[inline(always)]
    pub fn may_answer(&mut self, now: Now) -> bool {
        let tick = now.ticks() + 1;
        if self.tick != tick {
            (self.tick, self.answers) = (tick, 0);
        }
        self.answers += 1;
        self.answers <= Self::ANSWERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_so_many_a_tick() {
        let mut pulse = Pulse::default();
        let given = |pulse: &mut Pulse, tick| {
            (0..Pulse::ANSWERS * 2).filter(|_| pulse.may_answer(Now::at_tick(tick))).count() as u64
        };
        assert_eq!(given(&mut pulse, 0), Pulse::ANSWERS);
        assert_eq!(given(&mut pulse, 0), 0);
        assert_eq!(given(&mut pulse, 1), Pulse::ANSWERS);
    }

    #[test]
    fn one_packet_of_many_looks() {
        let mut pulse = Pulse::default();
        assert_eq!((0..LOOK_EVERY * 3).filter(|_| pulse.is_time_to_look()).count(), 3);
    }
}
