//! The data path as the agent holds it: the eBPF object, its maps, its pins, its links. The only module that knows aya.
//!
//! Pins under one folder, on a bpffs that outlives the agent:
//!
//! ```text
//! <pin_dir>/lock           held by the agent that lives (in the state folder, since bpffs takes no files)
//! <pin_dir>/maps/<NAME>    every map
//! <pin_dir>/stages/<id>    the array of programs that the attached one hands over to
//! <pin_dir>/links/<iface>  the attachment; removing it detaches
//! ```
//! Invariants: nothing in a pin is believed before [`About`](lb_common::entry::About) names our ABI and every map has the type
//! and sizes of our object. The program behind a link changes atomically; maps are never replaced under a program.

mod announced;
mod attach;
mod capturer;
mod counts;
mod departing;
mod driver_counters;
mod ethtool;
mod explainer;
mod keyed;
mod mapped;
mod maps;
mod object;
mod pins;
mod rehearsal;
mod stages;
mod unreached;

pub use announced::Announced;
pub use attach::{Attached, DataPathLog, Mode, Program, foreign_program};
pub use capturer::{Capturer, Wanted, monotonic_ns};
pub use departing::Departing;
pub use driver_counters::driver_losses;
pub use ethtool::offloads;
pub use explainer::{Course, Explainer, FRAME_LENGTHS};
pub use mapped::Mapped;
pub use maps::{MapSizes, Maps, Site, last_heartbeat, pinned_key, pinned_netns, pinned_pool, pinned_vips};
pub use object::{Object, ObjectError};
pub use pins::{Pins, PinsError, linked};
pub use rehearsal::rehearse;
pub use unreached::{Listening, Unreached};
