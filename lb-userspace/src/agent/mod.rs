//! The agent: what `xlvs up` and `xlvs down` do on this machine.

mod options;

pub use options::{DownOptions, UpOptions};
