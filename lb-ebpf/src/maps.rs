//! The kernel's maps, as one run of the program on one frame sees them.
//!
//! Those that program and agent share word by word are mmapable arrays: the JIT inlines their look-ups, and the agent
//! reads and writes them without a system call.
#![expect(unsafe_code, reason = "kernel helpers and map memory are raw pointers")]

mod answers;
mod declared;
mod once;
mod route;

use aya_ebpf::bindings::xdp_md;
use lb_common::{clock::Clock, flow_table::Cell, stage::Stage, word::Word};
use lb_ebpf::{frame::Frame, tables::Tables as _};

use crate::purpose::{counts, is_explaining};
use declared::{CLOCK, VERDICTS};
pub(crate) use declared::{DEVICES, MMAPABLE, STAGES};

/// No driver has smaller first buffers of frames that go on in others; no frame of the ordinary MTU is so long.
const LEAST_FULL_BUFFER: u64 = 1_536;

/// A word of the connection table, or of full NAT's. Explaining goes through all the motions, and every exchange seems to
/// succeed.
#[repr(transparent)]
pub(crate) struct SlotCell(Word);

impl Cell for SlotCell {
    #[inline(always)]
    fn load(&self) -> u64 {
        self.0.load()
    }

    #[inline(always)]
    fn replace(&self, seen: u64, new: u64) -> bool {
        is_explaining() || self.0.replace(seen, new)
    }
}

/// The kernel's maps, seen from one run of the program on one frame.
pub(crate) struct KernelTables {
    context: *mut xdp_md,
}

impl KernelTables {
    #[inline(always)]
    pub(crate) fn new(context: *mut xdp_md) -> Self {
        Self { context }
    }

    /// The frame as it is now.
    #[inline(always)]
    pub(crate) fn frame(&self) -> Frame<'_> {
        // SAFETY: the context is valid for the whole run, and the kernel gives its frame to this run alone.
        unsafe {
            Frame::of_range(
                (*self.context).data as usize as *mut u8,
                (*self.context).data_end as usize as *mut u8,
            )
        }
    }

    /// What the books are given. The kernel is asked only of frames that may have more than one buffer, because asking costs
    /// as much as a look-up. (Of a driver that splits payload from headers, the headers alone are counted.)
    #[inline(always)]
    pub(crate) fn bytes_of(&self, frame: &Frame<'_>) -> u64 {
        let first = frame.len() as u64;
        if first < LEAST_FULL_BUFFER { first } else { self.frame_length() }
    }

    /// Counts the frame's verdict: the only place that does. `stage` came to it, or the entry.
    #[inline(always)]
    pub(crate) fn conclude(&self, verdict: u32, bytes: u64, stage: Option<Stage>) {
        if !counts(|trail| trail.end(verdict, stage)) {
            return;
        }
        if let Some(tally) = VERDICTS.get_ptr_mut(verdict) {
            // SAFETY: this CPU's own entry, and XDP is not preempted by itself.
            unsafe {
                (*tally).packets += 1;
                (*tally).bytes += bytes;
            }
        }
    }

    #[inline(always)]
    pub(crate) fn may_log(&self) -> bool {
        !is_explaining() && CLOCK.get(0).is_some_and(Clock::may_log)
    }
}
