//! Packets that a service turned away by its own rules, by reason.

/// Why a service turned a packet away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Its lists do not admit the source.
    Denied,
    /// The source had used up its share.
    RateSource,
    /// The service had used up its own.
    RateService,
}

/// Per-CPU entry of `refusals`, by service number: only grows.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refusals {
    pub denied: u64,
    pub rate_source: u64,
    pub rate_service: u64,
}

impl Refusals {
    pub const FIELDS: usize = 3;

    #[inline(always)]
    pub const fn add(&mut self, why: Refusal) {
        match why {
            Refusal::Denied => self.denied += 1,
            Refusal::RateSource => self.rate_source += 1,
            Refusal::RateService => self.rate_service += 1,
        }
    }

    #[must_use]
    pub const fn to_array(self) -> [u64; Self::FIELDS] {
        [self.denied, self.rate_source, self.rate_service]
    }

    #[must_use]
    pub const fn from_array([denied, rate_source, rate_service]: [u64; Self::FIELDS]) -> Self {
        Self { denied, rate_source, rate_service }
    }
}

impl core::ops::Add for Refusals {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (a, b) = (self.to_array(), other.to_array());
        Self::from_array(core::array::from_fn(|i| a[i].wrapping_add(b[i])))
    }
}
