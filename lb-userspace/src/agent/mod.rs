//! The agent: what `xlvs up` and `xlvs down` do on this machine.
//!
//! Desired state ([`desired`]: configuration × health and orders, which are [`standing`]) is brought to the maps by [`install`],
//! which is the same code at start, reload, health change and repair, in parts of their own: [`tables`], [`listeners`],
//! [`backends`], [`surroundings`], [`leaving`]. [`ledger`] knows who has which number, [`arena`] where tables lie, [`sweep`] who
//! is in the connection table. One task ([`actor`]) owns them all.

mod actor;
mod affinity;
mod arena;
mod attachment;
mod backends;
mod capture;
mod circumstances;
mod cluster;
mod connections;
mod copies;
mod course;
mod desired;
mod detach;
mod down;
mod eligible;
mod explain;
mod founding;
mod from_file;
mod heard;
mod host;
mod install;
mod key;
mod large_frames;
mod leaving;
mod ledger;
mod limits;
mod listeners;
mod lists;
mod loads;
mod membership;
mod miss;
mod names;
mod netns;
mod options;
mod orders;
mod parting;
mod pinned;
mod pool;
mod ports;
mod preflight;
mod privileges;
mod quic;
mod reconcile;
mod replicas;
mod services;
mod silence;
mod sizes;
mod snapshot;
mod sources;
mod stages;
mod standing;
mod status;
mod surroundings;
pub mod sweep;
mod tables;
mod tunnels;
mod up;
mod vips;
mod watch;
mod watchdog;
mod ways_back;

pub use down::down;
pub use founding::{Admission, Founding, admit, found};
pub use from_file::FromFile;
pub use host::host_problems;
pub use options::{DownOptions, UpOptions};
pub use pinned::pinned;
pub use up::up;
