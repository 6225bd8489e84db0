//! Connections survive their director: what one tells the others, and what of it they believe.
//!
//! The protocol alone, without I/O and with the time as an argument; `docs/replication.md` says what is decided and why. Read
//! [`version`] and [`record`] first, then [`store`] (which record holds), [`digest`] (who differs where), [`session`] (what a
//! peer has yet to be told), and [`replicator`], which puts them together. [`join`] says when a director may serve.

mod agreeing;
pub mod backup;
pub mod board;
pub mod digest;
mod dirty;
pub mod frame;
pub mod join;
mod meeting;
pub mod message;
pub mod names;
mod receiving;
pub mod record;
pub mod refusal;
pub mod replicator;
mod sending;
pub mod session;
pub mod step;
pub mod store;
pub mod traffic;
#[cfg(not(fuzzing))]
pub mod transport;
pub mod version;
pub mod window;

#[cfg(any(test, fuzzing))]
pub mod hostile;
#[cfg(any(test, fuzzing))]
mod knowledge;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
