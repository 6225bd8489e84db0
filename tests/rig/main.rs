//! The rig proved: each part does its work with plain kernel forwarding or a few hand-written instructions in between,
//! and each part that reports failures reports them when something has been broken on purpose.

mod cleaning;
mod crossing;
mod flooding;
mod installation;
mod ipv6;
mod network;
mod packets;
mod programs;
mod traffic;
mod veth;
