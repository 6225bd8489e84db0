//! Where the data path listens: the listeners, and the gate that turns away what is for nobody here.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use lb_common::entry::EndpointKey;
use lb_common::gate::{self, Position, Role};
use lb_common::net::Port;

use super::desired::{DesiredService, ServiceIdentity};
use super::install::Installation;
use super::ledger::Numbered;
use crate::config::Mode;

impl Installation {
    pub(super) fn write_gate(&self) {
        let mut words = vec![0u64; gate::WORDS as usize];
        let mut admit = |addr, role| {
            let position = Position::of(addr);
            let word = &mut words[position.word() as usize];
            *word = position.admit(*word, role);
        };
        for (_, service) in self.ledger.services() {
            admit(service.vip, Role::Vip);
            if service.mode == Mode::FullNat {
                admit(service.vip, Role::FullNat);
            }
        }
        for (_, pair) in self.ledger.pairs() {
            admit(pair.identity.vip, Role::Vip);
            match pair.identity.mode {
                Mode::Nat => admit(pair.identity.address, Role::NatServer),
                Mode::FullNat => admit(pair.identity.vip, Role::FullNat),
                Mode::Dr | Mode::Tunnel => {}
            }
        }
        for addr in self.maps.pool.only().addresses() {
            admit(addr, Role::FullNat);
        }
        for (entry, word) in self.maps.gate.all().iter().zip(words) {
            if entry.load() != word {
                entry.store(word);
            }
        }
    }

    /// Whether the map has room for these listeners.
    ///
    /// # Errors
    /// If not, with the remedy.
    pub(super) fn plan_listeners(&self, wanted: &[DesiredService]) -> Result<()> {
        let vips: BTreeSet<IpAddr> = wanted.iter().map(|lane| lane.identity.vip.into()).collect();
        let pool = self.maps.pool.only().addresses().count();
        let needed = wanted.iter().map(|lane| lane.ports.len()).sum::<usize>() + vips.len() + pool;
        let room = self.maps.listeners.room() as usize;
        if needed > room {
            bail!(
                "the listeners, one for each VIP, port and protocol, and each VIP need {needed} places, the maps have {room}; \
                 'xlvs down' and 'xlvs up' make them anew, larger, or write port = \"any\""
            );
        }
        Ok(())
    }

    pub(super) fn write_listeners(&mut self, wanted: &[DesiredService], numbered: &[Numbered]) -> Result<()> {
        let mut keys = entries(wanted, numbered, |number| self.has_servers(number));
        let pool = self.maps.pool.only().addresses().zip(0..);
        keys.extend(pool.map(|(addr, number)| (EndpointKey::pool_marker(addr), number)));
        let held: HashMap<EndpointKey, u32> = self.maps.listeners.entries().into_iter().collect();
        let new: Vec<_> = keys.iter().filter(|(key, number)| held.get(key) != Some(number)).collect();
        let stale: Vec<_> = held.keys().filter(|key| !keys.contains_key(key)).collect();
        // A port may change from "any" to a range, or back, and must be listened on all the time: what is new comes first
        // wherever there is room for both.
        let new_first = held.len() + new.len() <= self.maps.listeners.room() as usize;
        if !new_first {
            self.remove_listeners(&stale)?;
        }
        for (key, number) in new {
            self.maps.listeners.insert(key, *number).context("entering a listener")?;
        }
        if new_first {
            self.remove_listeners(&stale)?;
        }
        Ok(())
    }

    fn remove_listeners(&mut self, stale: &[&EndpointKey]) -> Result<()> {
        for key in stale {
            self.maps.listeners.remove(key).context("removing a listener")?;
        }
        Ok(())
    }
}

/// What the map ought to say: each lane's ports, and a marker for each VIP, which answers pings while a lane there has
/// servers in its select table.
fn entries(
    wanted: &[DesiredService],
    numbered: &[Numbered],
    has_servers: impl Fn(u16) -> bool,
) -> HashMap<EndpointKey, u32> {
    let mut entries = HashMap::new();
    for (lane, numbers) in wanted.iter().zip(numbered) {
        let ServiceIdentity { vip, protocol, .. } = lane.identity;
        let key = |port: &Port| (EndpointKey::new(vip, *port, protocol), u32::from(numbers.service));
        entries.extend(lane.ports.iter().map(key));
        let marker = entries.entry(EndpointKey::vip_marker(vip)).or_insert(EndpointKey::SILENT);
        if has_servers(numbers.service) {
            *marker = EndpointKey::ANSWERS_ECHO;
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use lb_common::net::Protocol;

    use super::*;
    use crate::agent::desired;
    use crate::agent::eligible::Circumstances;
    use crate::agent::ledger::Ledger;
    use crate::agent::standing::Standings;
    use crate::config;

    #[test]
    fn each_port_of_a_range_leads_to_the_same_lane() {
        let text = r#"
            [[service]]
            name = "web"
            vip = ["192.0.2.1", "192.0.2.2"]
            port = [80, "8000-8002"]
            health = { kind = "none" }
            [[service.server]]
            name = "rs1"
            address = "198.51.100.1"
        "#;
        let model = config::load_str("t.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
        let wanted = desired::services(&model, &Standings::new(), &Circumstances::default());
        let numbered = Ledger::empty(8, 8).assign(&wanted).unwrap();
        let second = numbered[2].service;
        assert_ne!(
            wanted[0].identity.vip, wanted[2].identity.vip,
            "two lanes a VIP, those of a VIP in a row"
        );
        let entries = entries(&wanted, &numbered, |number| number == second);
        let vip = |last| "192.0.2.".to_owned() + last;
        let at = |last, port| {
            let vip: IpAddr = vip(last).parse().unwrap();
            entries.get(&EndpointKey::new(vip.into(), Port::from_host(port), Protocol::Tcp)).copied()
        };
        assert_eq!(entries.len(), 2 * 4 + 2);
        assert!(at("1", 8000).is_some());
        assert_eq!(at("1", 8000), at("1", 8002));
        assert_ne!(at("1", 8000), at("1", 80));
        assert_ne!(at("1", 8000), at("2", 8000));
        assert_eq!(at("1", 0), None, "a range is not any port");
        let marker = |last| {
            let vip: IpAddr = vip(last).parse().unwrap();
            entries.get(&EndpointKey::vip_marker(vip.into())).copied()
        };
        assert_eq!(marker("1"), Some(EndpointKey::SILENT), "no lane has a server");
        assert_eq!(marker("2"), Some(EndpointKey::ANSWERS_ECHO), "one of its lanes has");
    }
}
