//! Memory that holds map values: pages of our own, or the pages of a map that the kernel shares with us.
#![expect(
    unsafe_code,
    reason = "values are seen in place, as the program and the agent see them; this file says once which may be"
)]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd as _};

use anyhow::{Context, Result};
use lb_common::capture::Filter;
use lb_common::clock::Clock;
use lb_common::entry::{
    About, Affinity, Caller, Interface, Load, Path, Pool, Server, Service, ServiceLimits, Settings, Tunnel,
};
use lb_common::flow_table::BUCKET_SLOTS;
use lb_common::word::Word;
use memmap2::{MmapMut, MmapOptions, MmapRaw};

/// What may lie in a region.
///
/// # Safety
/// `repr(C)`, made of [`Word`]s alone: any content is valid, every access is atomic.
pub unsafe trait Value {}

// SAFETY: for all of these: made of words alone; see their definitions.
unsafe impl Value for Word {}
// SAFETY: as above.
unsafe impl Value for [Word; BUCKET_SLOTS] {}
// SAFETY: as above.
unsafe impl Value for [Path; Path::WAYS] {}
// SAFETY: as above.
unsafe impl Value for About {}
// SAFETY: as above.
unsafe impl Value for Caller {}
// SAFETY: as above.
unsafe impl Value for Settings {}
// SAFETY: as above.
unsafe impl Value for Pool {}
// SAFETY: as above.
unsafe impl Value for Clock {}
// SAFETY: as above.
unsafe impl Value for Filter {}
// SAFETY: as above.
unsafe impl Value for Service {}
// SAFETY: as above.
unsafe impl Value for Load {}
// SAFETY: as above.
unsafe impl Value for Affinity {}
// SAFETY: as above.
unsafe impl Value for ServiceLimits {}
// SAFETY: as above.
unsafe impl Value for Server {}
// SAFETY: as above.
unsafe impl Value for Tunnel {}
// SAFETY: as above.
unsafe impl Value for Interface {}

/// So many values, one after the other, zero at first.
#[derive(Debug)]
pub struct Region<T> {
    memory: MmapRaw,
    _values: PhantomData<T>,
}

impl<T: Value> Region<T> {
    /// In memory of our own.
    pub fn private(entries: u32) -> io::Result<Self> {
        let memory = MmapMut::map_anon(entries as usize * size_of::<T>())?.into();
        Ok(Self { memory, _values: PhantomData })
    }

    /// The entries of an mmapable array map.
    pub fn of_map(map: impl AsFd, entries: u32) -> Result<Self> {
        let length = entries as usize * size_of::<T>();
        let memory = MmapOptions::new().len(length).map_raw(map.as_fd().as_raw_fd());
        Ok(Self { memory: memory.context("cannot map an array map into memory")?, _values: PhantomData })
    }

    pub fn all(&self) -> &[T] {
        // SAFETY: mapped for the life of `self`, page-aligned, so long; `Value` promises that any content is valid and
        // that it may be shared.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast(), self.memory.len() / size_of::<T>()) }
    }

    pub fn get(&self, index: u32) -> Option<&T> {
        self.all().get(index as usize)
    }

    /// The same memory, word by word.
    pub fn words(&self) -> &[Word] {
        // SAFETY: as in `all`; a `Value` is made of words.
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().cast(), self.memory.len() / size_of::<Word>())
        }
    }

    /// Zero again.
    pub fn clear(&self) {
        for word in self.words() {
            if word.load() != 0 {
                word.store(0);
            }
        }
    }
}
