//! What XDP programs received, as the kernel counts it: the other side of "the sum of verdicts equals the packets".

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use aya::programs::{ProgramFd, ProgramInfo, loaded_programs};
use aya::sys::{Stats, enable_stats};
use serde_json::Value;

use crate::namespace::Namespace;

/// How a program sits on its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the kernel's generic receive path.
    Generic,
}

/// An XDP program found on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub program: u32,
    pub mode: Mode,
}

/// What `ip link` sees on an interface; None when there is no XDP program.
pub fn attachment(namespace: &Namespace, interface: &str) -> Result<Option<Attachment>> {
    let links = namespace.ip_json(&["link", "show", "dev", interface])?;
    attachment_in(&links[0])
        .with_context(|| format!("cannot understand the XDP state of {interface} in {}", namespace.name()))
}

fn attachment_in(link: &Value) -> Result<Option<Attachment>> {
    let xdp = &link["xdp"];
    if xdp.is_null() {
        return Ok(None);
    }
    // XDP_ATTACHED_DRV, XDP_ATTACHED_SKB of linux/if_link.h.
    let mode = match xdp["mode"].as_u64() {
        Some(1) => Mode::Native,
        Some(2) => Mode::Generic,
        other => bail!("mode {other:?} in {xdp}"),
    };
    let program = xdp["prog"]["id"].as_u64().with_context(|| format!("no program id in {xdp}"))?;
    Ok(Some(Attachment { program: program as u32, mode }))
}

/// Counts the frames given to the XDP programs of some interfaces, from its creation on.
///
/// The kernel counts runs only while somebody asks for it (BPF_ENABLE_STATS, Linux 5.8); this value asks. A program that
/// another one replaces keeps its count, because this value holds it; call [`Meter::look`] after each swap so that the
/// new one is known. The count of a program is one for all interfaces it is on: give all of them.
pub struct Meter<'a> {
    namespace: &'a Namespace,
    interfaces: Vec<String>,
    programs: BTreeMap<u32, Watched>,
    _statistics: OwnedFd,
}

struct Watched {
    before: u64,
    _held: ProgramFd,
}

impl<'a> Meter<'a> {
    /// Starts counting; interfaces without a program count once [`Meter::look`] has found one.
    pub fn start(namespace: &'a Namespace, interfaces: &[&str]) -> Result<Self> {
        let statistics = enable_stats(Stats::RunTime).context("cannot enable BPF statistics")?;
        let interfaces = interfaces.iter().map(|&interface| interface.to_owned()).collect();
        let mut meter = Self { namespace, interfaces, programs: BTreeMap::new(), _statistics: statistics };
        for id in meter.attached()? {
            meter.watch(id, true)?;
        }
        Ok(meter)
    }

    /// Finds programs that were attached since; all their runs count, so they must not have run elsewhere before.
    pub fn look(&mut self) -> Result<()> {
        for id in self.attached()? {
            if !self.programs.contains_key(&id) {
                self.watch(id, false)?;
            }
        }
        Ok(())
    }

    /// Frames given to the programs since the start. Frames under way count or not: let traffic come to rest first.
    pub fn received(&self) -> Result<u64> {
        self.programs.iter().map(|(id, watched)| Ok(program(*id)?.run_count() - watched.before)).sum()
    }

    fn attached(&self) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for interface in &self.interfaces {
            ids.extend(attachment(self.namespace, interface)?.map(|found| found.program));
        }
        Ok(ids)
    }

    fn watch(&mut self, id: u32, only_from_now: bool) -> Result<()> {
        let info = program(id)?;
        let held = info.fd().with_context(|| format!("cannot hold BPF program {id}"))?;
        let before = if only_from_now { info.run_count() } else { 0 };
        self.programs.entry(id).or_insert(Watched { before, _held: held });
        Ok(())
    }
}

/// What the kernel tells of a program.
pub fn program(id: u32) -> Result<ProgramInfo> {
    for info in loaded_programs() {
        // One that is unloaded while the list is read is none of ours: we hold ours.
        match info {
            Ok(info) if info.id() == id => return Ok(info),
            _ => {}
        }
    }
    bail!("BPF program {id} is no longer loaded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_ip_prints_is_understood() {
        let link = json!({"ifname": "eth0", "xdp": {"mode": 1, "prog": {"id": 7, "tag": "ab"}}});
        assert_eq!(attachment_in(&link).unwrap(), Some(Attachment { program: 7, mode: Mode::Native }));
        assert_eq!(attachment_in(&json!({"ifname": "eth0"})).unwrap(), None);
        assert!(attachment_in(&json!({"xdp": {"mode": 9}})).is_err());
    }
}
