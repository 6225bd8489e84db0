//! A datagram and the answer to it.

use crate::config::source::Reported;
use crate::config::table::{Entry, Layered, quoted};

/// The largest datagram that goes over any path whole.
const LONGEST: usize = 1232;

/// A datagram and the answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UdpProbe {
    /// At most 1232 bytes; may be empty.
    pub send: Vec<u8>,
    /// What the answer must contain; empty: any answer will do.
    pub receive: Vec<u8>,
}

pub(super) fn read(table: &Layered<'_>) -> Result<UdpProbe, Reported> {
    let send = read_bytes(table, "send", "send_hex");
    let receive = read_bytes(table, "receive", "receive_hex");
    Ok(UdpProbe { send: send?, receive: receive? })
}

impl UdpProbe {
    pub(super) fn told(&self) -> Vec<(&'static str, String)> {
        let told = |bytes: &[u8]| quoted(&bytes.escape_ascii().to_string());
        vec![("health.send", told(&self.send)), ("health.receive", told(&self.receive))]
    }
}

fn read_bytes(table: &Layered<'_>, text: &'static str, hex: &'static str) -> Result<Vec<u8>, Reported> {
    let bytes = match (table.get(text), table.get(hex)) {
        (Some(_), Some(entry)) if table.get_own(hex).is_some() == table.get_own(text).is_some() => {
            let what = format!("{text} and {hex} say the same twice");
            return Err(entry.problem(what, "remove one of the two"));
        }
        (_, Some(entry)) if table.get_own(hex).is_some() || table.get(text).is_none() => read_hex(&entry)?,
        (Some(entry), _) => entry.text(&format!("{text} = \"ping\""))?.as_bytes().to_vec(),
        (None, _) => Vec::new(),
    };
    if bytes.len() > LONGEST {
        let what = format!("{} bytes are more than a datagram should have", bytes.len());
        return Err(table.spot_of(text).problem(what, format!("write at most {LONGEST}")));
    }
    Ok(bytes)
}

fn read_hex(entry: &Entry<'_>) -> Result<Vec<u8>, Reported> {
    let text = entry.text(&format!("{} = \"0a 1b\"", entry.key))?;
    let parsed: Result<crate::api::Hex, String> = text.parse();
    parsed.map(|crate::api::Hex(bytes)| bytes).map_err(|why| {
        entry.problem(format!("{}: {why}", entry.key), format!("write {} = \"0a 1b\"", entry.key))
    })
}
