//! The map values and keys, byte for byte. Sizes are asserted at the end, and against the loaded maps by the agent.
//!
//! Values that program and agent share in mapped memory are made of [`Word`](crate::word::Word)s alone; hash map values are
//! plain.

mod about;
mod access;
mod address;
mod caller;
mod counters;
mod endpoint;
mod incidents;
mod interface;
mod limits;
mod memo;
mod path;
mod pool;
mod pulse;
mod quic;
mod scheduling;
mod server;
mod service;
mod settings;
mod then;
mod tunnel;

pub use about::About;
pub use access::{AccessKey, Rule};
pub use address::SharedAddr;
pub use caller::Caller;
pub use counters::{Counters, Tally};
pub use endpoint::{EndpointKey, Sharers};
pub use incidents::{Incident, Incidents};
pub use interface::Interface;
pub use limits::ServiceLimits;
pub use memo::{Admin, HealthMemo, Memo};
pub use path::Path;
pub use pool::Pool;
pub use pulse::Pulse;
pub use quic::{QuicFormat, QuicKey};
pub use scheduling::{Affinity, Load, Scheduler, Scheduling, Terms, member_key};
pub use server::{Server, ServerState};
pub use service::Service;
pub use settings::Settings;
pub use then::Then;
pub use tunnel::{Encapsulation, Tunnel, TunnelWay};

const _: () = {
    assert!(size_of::<Settings>() == 128);
    assert!(size_of::<EndpointKey>() == 24);
    assert!(size_of::<Caller>() == 24);
    assert!(size_of::<Sharers>() == 16);
    assert!(size_of::<Service>() == 216);
    assert!(size_of::<ServiceLimits>() == 80);
    assert!(size_of::<Load>() == 40);
    assert!(size_of::<Affinity>() == 64);
    assert!(size_of::<AccessKey>() == 32);
    assert!(size_of::<Incidents>() == 40);
    assert!(size_of::<QuicKey>() == 24);
    assert!(size_of::<Server>() == 64);
    assert!(size_of::<Counters>() == 40);
    assert!(size_of::<Interface>() == 24);
    assert!(size_of::<Path>() == 16);
    assert!(size_of::<Pool>() == 16 + 16 * Pool::ADDRESSES);
    assert!(size_of::<Pulse>() == 24);
    assert!(size_of::<Tunnel>() == 32);
    assert!(size_of::<About>() == 64);
    assert!(core::mem::offset_of!(Server, address) == 16);
    assert!(core::mem::offset_of!(Server, vip) == 32);
    assert!(core::mem::offset_of!(Service, vip) == 32);
};
