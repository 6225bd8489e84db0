//! Loading the program and putting it behind an interface's hook.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramInfo, Xdp, XdpMode, loaded_programs};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;

use lb_common::purpose::Purpose;
use lb_common::stage::ENTRY;

use super::maps::cpus;
use super::{MapSizes, Maps, Object, Pins, stages};

/// Where in the receive path the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before a socket buffer exists.
    Native,
    /// In the kernel's generic hook, much slower.
    Generic,
}

/// The loaded program.
#[derive(Debug)]
pub struct Program {
    ebpf: Ebpf,
}

/// The data path's log: lines wait in a ring until they are flushed to ours.
pub type DataPathLog = EbpfLogger<&'static dyn log::Log>;

/// What became of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub mode: Mode,
    /// Why not native, if it was tried.
    pub reason: Option<String>,
    /// The link was there, and the program behind it was exchanged.
    pub adopted: bool,
}

impl Program {
    /// Loads the object: over the pinned maps where there are some, which are checked first, and with new ones (pinned at
    /// once) where not. Without pins, nothing outlives the process.
    ///
    /// # Errors
    /// What the kernel or the checks say.
    pub fn load(object: &Object, sizes: &MapSizes, pins: Option<&Pins>) -> Result<(Self, Maps)> {
        let mut ebpf = Unverified::open(object, sizes, pins, Purpose::Serve)?.verified()?;
        let maps = Maps::take(&mut ebpf)?;
        Ok((Self { ebpf }, maps))
    }

    /// The tag by which the kernel tells programs apart, as `bpftool` prints it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn tag(&mut self) -> Result<String> {
        Ok(format!("{:016x}", self.info()?.tag()))
    }

    /// What the kernel knows of the program.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn info(&mut self) -> Result<ProgramInfo> {
        xdp(&mut self.ebpf, ENTRY)?.info().context("reading the program's information")
    }

    /// The program itself, for test runs.
    ///
    /// # Errors
    /// If the object has no such program.
    pub fn xdp(&mut self) -> Result<&mut Xdp> {
        xdp(&mut self.ebpf, ENTRY)
    }

    /// Where the data path's own log lines come out.
    ///
    /// # Errors
    /// If the object has no log.
    pub fn logger(&mut self) -> Result<DataPathLog> {
        EbpfLogger::init(&mut self.ebpf).context("reading the data path's log")
    }

    /// Sees to it that what is attached works without this process, too. Before any attachment.
    ///
    /// # Errors
    /// What the kernel says, with the pin.
    pub fn outlive(&self, pins: &Pins) -> Result<()> {
        stages::pin(&self.ebpf, pins)
    }

    /// Forgets the programs that this one has taken over from. After all attachments.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn supersede(&self, pins: &Pins) -> Result<()> {
        stages::leave_alone(&self.ebpf, pins)
    }

    /// Puts the program behind the interface's pinned link, atomically, if there is one; else attaches it and pins the
    /// link. `mode` none: native if the driver can, generic otherwise.
    ///
    /// # Errors
    /// What the kernel says, with the interface.
    pub fn attach(&mut self, pins: &Pins, interface: &str, mode: Option<Mode>) -> Result<Attached> {
        let path = pins.link(interface);
        if path.exists() {
            match self.exchange(&path) {
                Ok(()) => {
                    return Ok(Attached { mode: mode.unwrap_or(Mode::Native), reason: None, adopted: true });
                }
                // Its device is gone, or the pin is not a link of this interface any more.
                Err(error) => {
                    tracing::warn!(interface, "the pinned link cannot be used ({error:#}); attaching anew");
                    std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
                }
            }
        }
        let xdp = xdp(&mut self.ebpf, ENTRY)?;
        let tries: &[Mode] = match mode {
            Some(Mode::Native) => &[Mode::Native],
            Some(Mode::Generic) => &[Mode::Generic],
            None => &[Mode::Native, Mode::Generic],
        };
        let mut reason = None;
        for mode in tries {
            let flags = match mode {
                Mode::Native => XdpMode::Driver,
                Mode::Generic => XdpMode::Skb,
            };
            match xdp.attach(interface, flags) {
                Ok(id) => {
                    let link: FdLink = xdp.take_link(id)?.try_into().map_err(|_| {
                        anyhow!("the kernel gave no link for {interface}; Linux 5.9 or later is needed")
                    })?;
                    link.pin(&path).with_context(|| format!("pinning the link of {interface}"))?;
                    return Ok(Attached { mode: *mode, reason, adopted: false });
                }
                Err(error) => reason = Some(chain(&error)),
            }
        }
        let reason = reason.unwrap_or_default();
        bail!("attaching XDP to {interface}: {reason}")
    }

    /// Puts the program behind the pinned link of this interface, in place of a copy of it.
    ///
    /// # Errors
    /// What the kernel says, with the interface.
    pub fn return_to(&mut self, pins: &Pins, interface: &str) -> Result<()> {
        self.exchange(&pins.link(interface)).with_context(|| format!("returning to {interface}"))
    }

    fn exchange(&mut self, path: &Path) -> Result<()> {
        put_behind(&mut self.ebpf, ENTRY, path)
    }
}

/// Exchanges the program behind a pinned link for this one.
pub(super) fn put_behind(ebpf: &mut Ebpf, name: &str, path: &Path) -> Result<()> {
    let link: FdLink = PinnedLink::from_pin(path)?.into();
    let xdp = xdp(ebpf, name)?;
    let id = xdp.attach_to_link(link.try_into()?)?;
    // The pin holds the link; our handle may go.
    drop(xdp.take_link(id)?);
    Ok(())
}

/// Of frames on their way to whoever captures: some thousand full ones.
const RING_BYTES: u32 = 8 << 20;

/// A loading of the object that has its maps, while the kernel has seen none of its programs: verifying them takes seconds.
#[derive(Debug)]
pub(super) struct Unverified {
    ebpf: Ebpf,
    purpose: Purpose,
}

impl Unverified {
    /// Opens the object over the pinned maps, or over new ones.
    pub(super) fn open(
        object: &Object,
        sizes: &MapSizes,
        pins: Option<&Pins>,
        purpose: Purpose,
    ) -> Result<Self> {
        let constant = purpose as u8;
        let mut loader = EbpfLoader::new();
        loader.override_global(Purpose::CONSTANT, &constant, true);
        if purpose != Purpose::Serve {
            loader.map_max_entries("TRAIL", cpus()? as u32);
        }
        if purpose == Purpose::Capture {
            loader.map_max_entries("RING", RING_BYTES);
        }
        for (name, entries) in sizes.by_name() {
            loader.map_max_entries(name, entries);
        }
        if let Some(pins) = pins {
            for (name, kind, key, value) in MAPS {
                pins.check_map(name, *kind, *key, *value)?;
                loader.map_pin_path(name, pins.map(name));
            }
        }
        let ebpf = loader.load(object.bytes()).context("loading the eBPF object")?;
        Ok(Self { ebpf, purpose })
    }

    /// Has the kernel verify and compile the programs.
    pub(super) fn verified(self) -> Result<Ebpf> {
        let Self { mut ebpf, purpose } = self;
        stages::load(&mut ebpf, purpose)?;
        Ok(ebpf)
    }
}

/// The name of a program by its id, for messages about somebody else's program.
#[must_use]
pub fn foreign_program(id: u32) -> String {
    loaded_programs()
        .filter_map(Result::ok)
        .find(|info| info.id() == id)
        .and_then(|info| info.name_as_str().map(|name| format!("'{name}' (id {id})")))
        .unwrap_or_else(|| format!("id {id}"))
}

pub(super) fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    let program = ebpf.program_mut(name).ok_or_else(|| anyhow!("the eBPF object has no program '{name}'"))?;
    program.try_into().with_context(|| format!("program '{name}'"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// Every map of ours: name, type (`enum bpf_map_type`), key size, value size. What pins are checked against.
const MAPS: &[(&str, u32, u32, u32)] = {
    use lb_common::{clock, entry, flow_table, fragments, net, rate, wire};
    const HASH: u32 = 1;
    const ARRAY: u32 = 2;
    const PERCPU_ARRAY: u32 = 6;
    const LPM_TRIE: u32 = 11;
    const DEVMAP: u32 = 14;
    const RINGBUF: u32 = 27;
    &[
        ("ABOUT", ARRAY, 4, size_of::<entry::About>() as u32),
        ("SETTINGS", ARRAY, 4, size_of::<entry::Settings>() as u32),
        ("CLOCK", ARRAY, 4, size_of::<clock::Clock>() as u32),
        ("GATE", ARRAY, 4, 8),
        ("FLOWS", ARRAY, 4, 8 * flow_table::BUCKET_SLOTS as u32),
        ("ADDRESSES", ARRAY, 4, size_of::<entry::Caller>() as u32),
        ("REPLICAS", ARRAY, 4, 8 * flow_table::BUCKET_SLOTS as u32),
        ("SETTLED", RINGBUF, 0, 0),
        ("UNREACHED", RINGBUF, 0, 0),
        ("POOL", ARRAY, 4, size_of::<entry::Pool>() as u32),
        ("LEASES", ARRAY, 4, 8 * flow_table::BUCKET_SLOTS as u32),
        ("TENANTS", ARRAY, 4, size_of::<entry::Caller>() as u32),
        ("SERVICES", ARRAY, 4, size_of::<entry::Service>() as u32),
        ("SERVERS", ARRAY, 4, size_of::<entry::Server>() as u32),
        ("LOADS", ARRAY, 4, size_of::<entry::Load>() as u32),
        ("MEMBERS", HASH, 8, 4),
        ("TURNS", PERCPU_ARRAY, 4, 8),
        ("AFFINITIES", ARRAY, 4, size_of::<entry::Affinity>() as u32),
        ("SEATS", ARRAY, 4, 8 * flow_table::BUCKET_SLOTS as u32),
        ("SITTERS", ARRAY, 4, size_of::<entry::Caller>() as u32),
        ("TUNNELS", ARRAY, 4, size_of::<entry::Tunnel>() as u32),
        ("TABLES", ARRAY, 4, 8),
        ("PATHS", ARRAY, 4, (size_of::<entry::Path>() * entry::Path::WAYS) as u32),
        ("FRAGMENTS", ARRAY, 4, 8 * fragments::SET_NOTES as u32),
        ("INTERFACES", ARRAY, 4, size_of::<entry::Interface>() as u32),
        ("LIMITS", ARRAY, 4, size_of::<entry::ServiceLimits>() as u32),
        ("SOURCES", ARRAY, 4, 8 * rate::WAYS as u32),
        ("LISTENERS", HASH, size_of::<entry::EndpointKey>() as u32, 4),
        ("BACKENDS", HASH, size_of::<entry::EndpointKey>() as u32, size_of::<entry::Sharers>() as u32),
        ("QUIC_SERVERS", HASH, size_of::<entry::QuicKey>() as u32, 4),
        ("LOCALS", HASH, size_of::<net::Addr>() as u32, 4),
        ("VLANS", HASH, size_of::<wire::Wire>() as u32, 4),
        ("LISTS", LPM_TRIE, size_of::<entry::AccessKey>() as u32, 4),
        ("DEVICES", DEVMAP, 4, 8),
        ("PULSE", PERCPU_ARRAY, 4, size_of::<entry::Pulse>() as u32),
        ("VERDICTS", PERCPU_ARRAY, 4, size_of::<entry::Tally>() as u32),
        ("EVENTS", PERCPU_ARRAY, 4, 8),
        ("SERVER_COUNTERS", PERCPU_ARRAY, 4, size_of::<entry::Counters>() as u32),
        ("INCIDENTS", PERCPU_ARRAY, 4, size_of::<entry::Incidents>() as u32),
    ]
};
