//! `[cluster]`: where this director stands among others.

use super::name::DomainName;
use super::source::Reported;
use super::table::Layered;

/// The directors together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// Where this director is: servers of the same domain are preferred.
    pub domain: Option<DomainName>,
}

pub(super) fn read(table: Layered<'_>) -> Result<Cluster, Reported> {
    Ok(Cluster { domain: table.read("domain", DomainName::read)? })
}
