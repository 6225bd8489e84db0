//! Clients whom a packet of the data path was for, and to whom nobody knew a way.
#![expect(
    unsafe_code,
    reason = "a descriptor may only be waited for by who keeps it open meanwhile; a ring does"
)]

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use anyhow::Result;
use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use lb_common::unreached::Unreached as Record;
use tokio::io::unix::AsyncFd;

use super::maps::typed;

/// The agent's end of the ring. None where no program tells anything.
#[derive(Default)]
pub struct Unreached(Option<RingBuf<MapData>>);

impl Unreached {
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self> {
        typed(ebpf, "UNREACHED").map(Some).map(Self)
    }

    /// To be called within a tokio runtime.
    ///
    /// # Errors
    /// If there is no program, or the ring cannot be waited for.
    pub fn listen(self) -> io::Result<Listening> {
        let Self(ring) = self;
        let ring = ring.ok_or(io::ErrorKind::NotFound)?;
        // SAFETY: the ring owns its map, whose descriptor stays the same and open until the ring is dropped.
        let waited_for = unsafe { AsyncFd::register(ring) };
        Ok(Listening(waited_for?))
    }
}

/// Is woken by what comes.
pub struct Listening(AsyncFd<RingBuf<MapData>>);

impl Listening {
    /// Waits for the next ones, each once, however often it was told.
    ///
    /// # Errors
    /// If the ring cannot be waited for.
    pub async fn next(&mut self) -> io::Result<BTreeSet<IpAddr>> {
        let mut ready = self.0.readable_mut().await?;
        let ring = ready.get_inner_mut();
        let mut clients = BTreeSet::new();
        while let Some(record) = ring.next() {
            clients.extend(Record::read(&record).map(|Record(client)| IpAddr::from(client)));
        }
        ready.clear_ready();
        Ok(clients)
    }
}
