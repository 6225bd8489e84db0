//! Is a real server fit for new connections?
//!
//! [`spec`] says what to ask, [`probe`] asks once, [`state`] counts answers into a verdict (rise and fall), and
//! [`scheduler`] does it for thousands of servers at once and tells the agent what changed.
//!
//! Nothing here knows of services, weights or maps: a check has a key of the caller's choosing.

mod agenda;
mod entry;
pub mod probe;
pub mod scheduler;
pub mod spec;
pub mod state;

pub use entry::{Standing, Wanted};
pub use probe::Outcome;
pub use scheduler::{Event, Limits, Scheduler};
pub use spec::{CheckSpec, HttpCheck, InvalidHttpCheck, Kind};
pub use state::{Health, Machine, Thresholds, Transition, Verdict};
