//! What goes wrong with the wires of a pair: a cable pulled, which both ends see, and frames lost on the way, which nobody sees.

use anyhow::{Context as _, Result};

use super::{Director, MESH, Topology};
use crate::cleanup::Undo;
use crate::namespace::Namespace;
use crate::tools;

/// One of the three networks that a director of a pair is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Clients,
    Servers,
    /// The wire between the two.
    Mesh,
}

/// Frames are lost as long as this lives.
#[must_use = "dropping it heals the wire"]
pub struct Cut {
    _undo: Undo,
}

/// Which way, as one of the two sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl Topology {
    /// Pulls a director's cables, or plugs them in: its interfaces lose their carrier. In two-arm, where each network has its own.
    pub fn pull(&self, director: Director, networks: &[Network], is_up: bool) -> Result<()> {
        let state = if is_up { "up" } else { "down" };
        networks.iter().try_for_each(|network| match network {
            Network::Clients => self.switch.ip(&format!("link set {} {state}", director.port(0))),
            Network::Servers => self.switch.ip(&format!("link set {} {state}", director.port(1))),
            Network::Mesh => {
                let other = director.other();
                self.director_of(other).ip(&format!("link set {MESH} {state}"))
            }
        })
    }

    /// This director is no more, nor are its cables. What asks for its namespace fails from now on.
    pub fn remove(&self, director: Director) -> Result<()> {
        self.director_of(director).delete()
    }

    /// This director hears nothing there any more; what it says is still heard.
    pub fn deafen(&self, director: Director, network: Network) -> Result<Cut> {
        self.lose(director, network, Way::In)
    }

    /// Nobody hears there any more what this director says.
    pub fn silence(&self, director: Director, network: Network) -> Result<Cut> {
        self.lose(director, network, Way::Out)
    }

    /// By a table of its own in front of the director: in the switch, past which no frame gets, or at its end of the wire.
    fn lose(&self, director: Director, network: Network, way: Way) -> Result<Cut> {
        let table = format!("{director:?}_{network:?}_{way:?}").to_lowercase();
        let (place, family, device) = match network {
            Network::Clients => (&self.switch, "bridge", director.port(0)),
            Network::Servers => (&self.switch, "bridge", director.port(1)),
            Network::Mesh => (self.director_of(director), "inet", MESH.to_owned()),
        };
        // The switch sees the other end: what comes in there, the director has sent.
        let (device, hooks) = match (network, way) {
            (Network::Mesh, Way::In) => (format!("iifname \"{device}\""), vec!["input"]),
            (Network::Mesh, Way::Out) => (format!("oifname \"{device}\""), vec!["output"]),
            (_, Way::In) => (format!("oifname \"{device}\""), vec!["forward", "output"]),
            (_, Way::Out) => (format!("iifname \"{device}\""), vec!["forward", "input"]),
        };
        let chains: String = hooks
            .iter()
            .map(|hook| {
                format!("chain {hook} {{\n type filter hook {hook} priority 0; policy accept;\n {device} drop\n }}\n")
            })
            .collect();
        let rules = format!("table {family} {table} {{\n{chains}}}\n");
        nft(place, &rules).with_context(|| format!("cannot cut {network:?} of {director:?}"))?;
        let mut heal = place.command("nft")?;
        heal.args(["delete", "table", family, &table]);
        let undo = Undo::new(move || {
            if let Err(error) = tools::output(&mut heal) {
                eprintln!("warning: a wire stays cut: {error:#}");
            }
        });
        Ok(Cut { _undo: undo })
    }
}

/// Loads rules of nftables in a namespace.
pub(super) fn nft(namespace: &Namespace, rules: &str) -> Result<()> {
    let mut command = namespace.command("nft")?;
    command.arg(rules);
    tools::output(&mut command).map(drop)
}
