//! `affinity`: whether a client's connections go where its earlier ones went.

use std::time::Duration;

use super::choice;
use super::duration;
use super::name::GroupName;
use super::parting::Then;
use super::source::{Placed, Reported};
use super::table::{Entry, Layered};
use super::vocabulary::AFFINITY;

const SHORTEST: Duration = Duration::from_secs(1);
/// As much as an age of eight bits can tell.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);

/// How clients come back to their servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affinity {
    /// Services that name the same group share it; `None`: the service has it to itself.
    pub group: Option<GroupName>,
    /// IPv4 clients with so many common bits are one source, 1 to 32.
    pub prefix_v4: u32,
    /// IPv6 clients with so many common bits are one source, 1 to 128.
    pub prefix_v6: u32,
    /// How long after a source's last new connection, 1 s to 2 h.
    pub timeout: Duration,
    /// What becomes of sources whose server fails its check.
    pub on_server_down: Then,
}

/// The only thing that affinity goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Source,
}

/// Reads the table, if it is given.
pub(super) fn read<'a>(table: &Layered<'a>) -> Result<Option<Placed<'a, Affinity>>, Reported> {
    let spot = table.spot_of("affinity");
    let Some(own) = table.read("affinity", |entry| entry.table(&AFFINITY))? else { return Ok(None) };
    let table = Layered::new(own.spot, Some(own), None);
    let by = table.require("by", "by = \"source\"", choice::read::<By>);
    let group = table.read("group", GroupName::read);
    let prefix_v4 = table.read_or("prefix_v4", 32, |entry| entry.integer(1, 32, "prefix_v4 = 32"));
    let prefix_v6 = table.read_or("prefix_v6", 128, |entry| entry.integer(1, 128, "prefix_v6 = 64"));
    let timeout = |entry: &Entry<'_>| duration::read(entry, SHORTEST..=LONGEST);
    let timeout = table.read_or("timeout", Duration::from_secs(300), timeout);
    let on_server_down = table.read_or("on_server_down", Then::Rehash, choice::read);
    let By::Source = by?;
    let value = Affinity {
        group: group?,
        prefix_v4: prefix_v4?,
        prefix_v6: prefix_v6?,
        timeout: timeout?,
        on_server_down: on_server_down?,
    };
    Ok(Some(Placed { value, spot }))
}
