//! What connection ids call the servers, in the maps.
//!
//! A server that leaves keeps its id for the connections it still has, unless another one is given it.

use std::collections::HashMap;

use anyhow::{Context, Result};
use lb_common::entry::QuicKey;
use lb_common::slot::ServerId;

use super::desired::DesiredService;
use super::install::Installation;
use super::ledger::Numbered;

impl Installation {
    /// Before the services go by it: what is new comes first, so that no server is without an id in between.
    pub(super) fn write_quic(&mut self, wanted: &[DesiredService], numbered: &[Numbered]) -> Result<()> {
        let wanted = entries(wanted, numbered);
        for (key, id) in &wanted {
            if self.maps.quic_servers.get(key) != Some(*id) {
                self.maps
                    .quic_servers
                    .insert(key, *id)
                    .context("entering what connection ids call a server")?;
            }
        }
        let staying: Vec<ServerId> =
            self.ledger.pairs().filter(|(_, pair)| !pair.leaving).map(|(id, _)| id).collect();
        self.remove_quic(|key, id| !wanted.contains_key(key) && staying.contains(&id))
    }

    /// Nobody calls these servers anything any more.
    pub(super) fn forget_quic(&mut self, is_gone: impl Fn(ServerId) -> bool) -> Result<()> {
        self.remove_quic(|_, id| is_gone(id))
    }

    fn remove_quic(&mut self, is_stale: impl Fn(&QuicKey, ServerId) -> bool) -> Result<()> {
        let is_stale = |key: &QuicKey, id: u32| ServerId::new(id as u16).is_none_or(|id| is_stale(key, id));
        for (key, _) in self.maps.quic_servers.entries().iter().filter(|(key, id)| is_stale(key, *id)) {
            self.maps.quic_servers.remove(key).context("removing what connection ids called a server")?;
        }
        Ok(())
    }
}

fn entries(wanted: &[DesiredService], numbered: &[Numbered]) -> HashMap<QuicKey, u32> {
    let mut entries = HashMap::new();
    for (lane, numbers) in wanted.iter().zip(numbered) {
        let Some(format) = lane.quic else { continue };
        for (server, id) in lane.servers.iter().zip(&numbers.servers) {
            if let Some(called) = &server.quic_id {
                entries.insert(QuicKey::new(numbers.service, format, called.octets()), id.index());
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::desired;
    use crate::agent::eligible::Circumstances;
    use crate::agent::ledger::Ledger;
    use crate::agent::standing::Standings;
    use crate::config;

    /// A service of both families, and its neighbour that does not go by ids.
    const TEXT: &str = r#"
        [[service]]
        name = "web"
        vip = ["192.0.2.1", "2001:db8::1"]
        port = 443
        protocol = "udp"
        quic_lb = { config_id = 2, server_id_length = 2 }
        health = { kind = "none" }
        [[service.server]]
        name = "rs1"
        address = ["198.51.100.1", "2001:db8:2::1"]
        server_id = "0A1b"
        [[service.server]]
        name = "rs2"
        address = "198.51.100.2"
        server_id = "0002"
        [[service]]
        name = "dns"
        vip = "192.0.2.1"
        port = 53
        protocol = "udp"
        health = { kind = "none" }
        [[service.server]]
        name = "rs1"
        address = "198.51.100.1"
    "#;

    #[test]
    fn a_server_is_called_by_its_id_in_each_lane_of_its_service() {
        let model = config::load_str("t.toml", TEXT).unwrap_or_else(|problems| panic!("{problems}"));
        let wanted = desired::services(&model, &Standings::new(), &Circumstances::default());
        let numbered = Ledger::empty(8, 8).assign(&wanted).unwrap();
        let entries = entries(&wanted, &numbered);
        let format = wanted[0].quic.unwrap();
        let called = |lane: usize, id: &[u8]| entries.get(&QuicKey::new(numbered[lane].service, format, id));
        let number = |lane: usize, server: usize| numbered[lane].servers[server].index();
        assert_eq!(called(0, &[0x0a, 0x1b]), Some(&number(0, 0)));
        assert_eq!(called(0, &[0, 2]), Some(&number(0, 1)));
        assert_eq!(called(1, &[0x0a, 0x1b]), Some(&number(1, 0)));
        assert_eq!((called(1, &[0, 2]), entries.len()), (None, 3), "rs2 has no IPv6 address");
    }

    #[test]
    fn what_changes_of_ids_is_told_and_names_the_same_things() {
        let model =
            |text: &str| config::load_str("t.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
        let told = |text: &str| -> Vec<String> {
            config::diff(&model(TEXT), &model(text)).iter().map(ToString::to_string).collect()
        };
        assert_eq!(told(&TEXT.replace("0A1b", "0a1B")), Vec::<String>::new());
        assert_eq!(told(&TEXT.replace("0002", "0003")), ["~ server web/rs2 server_id 0002 -> 0003"]);
        assert_eq!(told(&TEXT.replace("id = 2", "id = 3")), ["~ service web quic_lb.config_id 2 -> 3"]);
    }
}
