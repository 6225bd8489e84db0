//! The command line from outside: the binary, its help, its exit codes, its reports as golden files, and the
//! control socket it talks through. Needs no privilege.
//!
//! After a wanted change of the output, `XLVS_BLESS=1 cargo test -p lb-userspace --test cli` writes the
//! golden files anew; read their diff before you commit it.

#[path = "cli/agent.rs"]
mod agent;
#[path = "cli/cluster.rs"]
mod cluster;
#[path = "cli/from_file.rs"]
mod from_file;
#[path = "cli/golden.rs"]
mod golden;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/offline.rs"]
mod offline;
#[path = "cli/protocol.rs"]
mod protocol;
#[path = "cli/rendering.rs"]
mod rendering;
#[path = "cli/sample.rs"]
mod sample;
#[path = "cli/socket_file.rs"]
mod socket_file;
#[path = "cli/verbs.rs"]
mod verbs;
#[path = "cli/xlvs.rs"]
mod xlvs;
