//! The claims, in the order in which they are shown.

mod added_server;
mod dead_agent;
mod dead_server;
mod new_agent;
mod weights;

use anyhow::Result;

use crate::scene::Scene;
use crate::telling::Claim;

/// Shows one claim; an error when it could not be shown at all.
type Show = fn(&mut Scene, &mut Claim) -> Result<()>;

pub const CLAIMS: [(&str, Show); 5] = [
    ("Connections are spread as the weights say", weights::show),
    ("A real server is killed, and is missed for a moment only", dead_server::show),
    ("A server is added by `xlvs reload` while downloads run", added_server::show),
    ("The agent is killed with kill -9, and nobody notices", dead_agent::show),
    ("A new agent takes over the pinned data path", new_agent::show),
];
