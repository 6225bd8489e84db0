//! What repeated measurements of one thing say.

/// Measurements in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<f64>);

impl Series {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Each less the one of the other series that was made in the same round.
    pub fn less(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own - other).collect())
    }

    /// Each divided by the one of the other series that was made in the same round.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect())
    }

    /// Half are below, half above; NaN if there are none.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// What is measured when nothing disturbs; NaN if there are none.
    pub fn minimum(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The largest; NaN if there are none.
    pub fn maximum(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// How far half of the measurements lie around the median: the middle two quarters' width.
    pub fn spread(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() { f64::NAN } else { sorted[sorted.len() * 3 / 4] - sorted[sorted.len() / 4] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_minimum_and_difference() {
        let (mut own, mut other) = (Series::default(), Series::default());
        for (a, b) in [(30.0, 10.0), (41.0, 11.0), (90.0, 10.0)] {
            own.push(a);
            other.push(b);
        }
        let net = own.less(&other);
        assert_eq!((net.median(), net.minimum(), net.maximum()), (30.0, 20.0, 80.0));
        assert_eq!(own.over(&other).minimum(), 3.0);
        assert!(Series::default().median().is_nan());
    }
}
