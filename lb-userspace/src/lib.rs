//! Shared.
pub mod agent;
pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod dataplane;
pub mod health;
pub mod net;
pub mod output;
pub mod packet;
pub mod replication;
