//! What people call what has a number in the maps.

use lb_common::slot::ServerId;

use super::desired::DesiredService;
use super::install::Installation;

impl Installation {
    /// Service and server of the pairs that have ids now, those included that are left of lanes that are gone.
    pub(super) fn names(&self, wanted: &[DesiredService]) -> Vec<(ServerId, String, String)> {
        let directory = self.ledger.directory();
        let mut names = Vec::new();
        for service in wanted {
            for server in &service.servers {
                let ids = directory
                    .pair(service, server)
                    .into_iter()
                    .chain(directory.earlier(server).iter().copied());
                names.extend(ids.map(|id| (id, service.name.to_string(), server.name.to_string())));
            }
        }
        names
    }

    /// The service that has a lane with this number.
    pub(super) fn service_name(&self, wanted: &[DesiredService], number: u32) -> Option<String> {
        let (_, identity) = self.ledger.services().find(|(held, _)| u32::from(*held) == number)?;
        let mut named = wanted.iter().filter(|service| service.identity == *identity);
        named.next().map(|service| service.name.to_string())
    }
}
