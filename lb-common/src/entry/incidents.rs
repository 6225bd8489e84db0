//! What befalls a service apart from being forwarded: packets that its own rules turn away, and those amid a connection that has
//! no entry.

/// What befell a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incident {
    /// Its lists do not admit the source.
    Denied,
    /// The source had used up its share.
    RateSource,
    /// The service had used up its own.
    RateService,
    /// A packet amid a connection had no entry, and nobody had told of one: the miss table, or the packet itself, named its server.
    Missed,
    /// A connection that another director held took a place in the flow table.
    Adopted,
}

/// Per-CPU entry of `incidents`, by service number: only grows.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Incidents {
    pub denied: u64,
    pub rate_source: u64,
    pub rate_service: u64,
    pub missed: u64,
    pub adopted: u64,
}

impl Incidents {
    pub const FIELDS: usize = 5;

    #[inline(always)]
    pub const fn add(&mut self, what: Incident) {
        match what {
            Incident::Denied => self.denied += 1,
            Incident::RateSource => self.rate_source += 1,
            Incident::RateService => self.rate_service += 1,
            Incident::Missed => self.missed += 1,
            Incident::Adopted => self.adopted += 1,
        }
    }

    #[must_use]
    pub const fn to_array(self) -> [u64; Self::FIELDS] {
        [self.denied, self.rate_source, self.rate_service, self.missed, self.adopted]
    }

    #[must_use]
    pub const fn from_array(
        [denied, rate_source, rate_service, missed, adopted]: [u64; Self::FIELDS],
    ) -> Self {
        Self { denied, rate_source, rate_service, missed, adopted }
    }
}

impl core::ops::Add for Incidents {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (a, b) = (self.to_array(), other.to_array());
        Self::from_array(core::array::from_fn(|i| a[i].wrapping_add(b[i])))
    }
}
