//! Map memory in our own address space: what a `BPF_F_MMAPABLE` array gives, or memory that is nobody else's.
#![expect(
    unsafe_code,
    reason = "memory shared with the kernel is a raw pointer; this file says once what may be seen in it"
)]

use std::os::fd::AsRawFd;
use std::{io, marker::PhantomData};

use lb_common::capture::Filter;
use lb_common::clock::Clock;
use lb_common::entry::{
    About, Affinity, Caller, Interface, Load, Path, Pool, Server, Service, ServiceLimits, Settings, Tunnel,
};
use lb_common::flow_table::BUCKET_SLOTS;
use lb_common::trail::Trail;
use lb_common::word::Word;
use memmap2::{MmapMut, MmapOptions, MmapRaw};

/// What may lie in mapped map memory.
///
/// # Safety
/// `repr(C)`, made of [`Word`]s alone, so that any content is valid and every access is atomic.
pub unsafe trait Shared {}

// SAFETY: made of words alone; see its definition.
unsafe impl Shared for Word {}
// SAFETY: as above.
unsafe impl Shared for [Word; BUCKET_SLOTS] {}
// SAFETY: as above.
unsafe impl Shared for [Path; Path::WAYS] {}
// SAFETY: as above.
unsafe impl Shared for About {}
// SAFETY: as above.
unsafe impl Shared for Caller {}
// SAFETY: as above.
unsafe impl Shared for Settings {}
// SAFETY: as above.
unsafe impl Shared for Pool {}
// SAFETY: as above.
unsafe impl Shared for Clock {}
// SAFETY: as above.
unsafe impl Shared for Service {}
// SAFETY: as above.
unsafe impl Shared for Load {}
// SAFETY: as above.
unsafe impl Shared for Affinity {}
// SAFETY: as above.
unsafe impl Shared for ServiceLimits {}
// SAFETY: as above.
unsafe impl Shared for Server {}
// SAFETY: as above.
unsafe impl Shared for Tunnel {}
// SAFETY: as above.
unsafe impl Shared for Interface {}
// SAFETY: as above.
unsafe impl Shared for Trail {}
// SAFETY: as above.
unsafe impl Shared for Filter {}

/// The entries of a mapped array. Stays valid as long as this lives, whatever becomes of the map's other holders.
#[derive(Debug)]
pub struct Mapped<T> {
    memory: MmapRaw,
    entries: usize,
    _values: PhantomData<T>,
}

impl<T: Shared> Mapped<T> {
    /// Maps all entries of the array behind this descriptor.
    ///
    /// # Errors
    /// What `mmap` says.
    pub fn new(map: &impl AsRawFd, entries: u32) -> io::Result<Self> {
        let entries = entries as usize;
        let memory = MmapOptions::new().len(entries * size_of::<T>()).map_raw(map.as_raw_fd())?;
        Ok(Self { memory, entries, _values: PhantomData })
    }

    /// So many entries in memory of our own, zero at first.
    ///
    /// # Errors
    /// What `mmap` says.
    pub fn own(entries: u32) -> io::Result<Self> {
        let entries = entries as usize;
        let memory = MmapMut::map_anon(entries * size_of::<T>())?.into();
        Ok(Self { memory, entries, _values: PhantomData })
    }

    /// All entries.
    #[must_use]
    pub fn all(&self) -> &[T] {
        // SAFETY: mapped for the life of `self`, page-aligned, `entries` values long (an array map's stride is the value
        // size rounded up to 8, and every `Shared` type is a multiple of 8); `Shared` promises validity.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast::<T>(), self.entries) }
    }

    /// The entry at this index, if there is one.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&T> {
        self.all().get(index as usize)
    }

    /// The only entry of a map of one.
    ///
    /// # Panics
    /// If the map is empty, which its checked size rules out.
    #[must_use]
    pub fn only(&self) -> &T {
        &self.all()[0]
    }
}
