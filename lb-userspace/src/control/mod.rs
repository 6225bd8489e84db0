//! How the command line talks to the agent: one JSON object a line over a Unix socket.
//!
//! A request is `{"verb": "status"}`, an answer `{"ok": {"status": {…}}}` or `{"error": {…}}`. A caller may
//! send several requests on one connection, one after the other. Whoever may open the socket (mode
//! 0600, so its owner) may do everything; there is no other check.

mod client;
mod frame;
mod message;
mod server;
mod socket_file;

pub use client::{Client, ClientError};
pub use message::{
    AffinityQuery, CaptureQuery, ConnectionFilter, EndQuery, FrameQuery, Order, OverrideRequest, PacketQuery,
    Report, Request, Response, WeightOrder,
};
pub use server::{Inquiry, Limits, Server};
pub use socket_file::{ControlSocket, SocketRefusal};

/// Where the agent listens if nothing says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/xlvs/xlvs.sock";
