//! Is a real server fit for new connections?
//!
//! [`spec`] says what to ask, [`probe`] asks once, [`state`] counts answers into a verdict (rise and fall), [`advice`] reads what
//! servers say themselves, [`rounds`] asks each question in its rhythm, and [`scheduler`] does all of it for thousands of servers
//! at once and tells the agent what changed. What goes to a VIP by the way of traffic goes over the [`wire`].
//!
//! Nothing here knows of weights or maps: a check has a key of the caller's choosing.

pub mod advice;
mod agenda;
mod entry;
mod packet_socket;
pub mod probe;
mod rounds;
pub mod scheduler;
pub mod spec;
pub mod state;
mod wire;

pub use advice::{Advice, Share};
pub use entry::{Said, Standing, Wanted};
pub use probe::{Outcome, unusable};
pub use scheduler::{Event, Limits, Scheduler};
pub use spec::{AgentSpec, Ask, CheckSpec, Path, Question, Rhythm, Subject};
pub use state::{Health, Machine, Thresholds, Transition, Verdict};
pub use wire::Wire;
