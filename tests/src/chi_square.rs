//! Pearson's chi-square test: is a spread what the weights promise, or would chance hardly ever bring it?

/// The outcome of a test of observed counts against weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiSquare {
    pub statistic: f64,
    /// Categories less one.
    pub degrees: u32,
    /// How often chance alone strays at least as far from the weights.
    pub p: f64,
}

/// What each category should have of `total`, by its weight.
pub fn expected(weights: &[u32], total: usize) -> Vec<f64> {
    let sum: u32 = weights.iter().sum();
    weights.iter().map(|weight| total as f64 * f64::from(*weight) / f64::from(sum)).collect()
}

/// Tests `counts` against `weights`: as many of both, all weights above 0, and at least two.
pub fn test(counts: &[usize], weights: &[u32]) -> ChiSquare {
    assert_eq!(counts.len(), weights.len(), "a count for each weight");
    let expected = expected(weights, counts.iter().sum());
    let parts = counts.iter().zip(&expected).map(|(count, mean)| (*count as f64 - mean).powi(2) / mean);
    let (statistic, degrees) = (parts.sum(), counts.len() as u32 - 1);
    ChiSquare { statistic, degrees, p: exceeds(statistic, degrees) }
}

/// The probability that a chi-square variable exceeds `statistic`: one less the lower regularized incomplete gamma
/// function, by its series (Abramowitz and Stegun, 6.5.29).
fn exceeds(statistic: f64, degrees: u32) -> f64 {
    let (a, x) = (f64::from(degrees) / 2.0, statistic / 2.0);
    // Beyond any table, and the exponential would underflow.
    if x > 500.0 {
        return 0.0;
    }
    let mut term = x.powf(a) * (-x).exp() / gamma_of_half(degrees + 2);
    let (mut sum, mut n) = (0.0, 0.0);
    while term > 1e-17 || n < x {
        sum += term;
        n += 1.0;
        term *= x / (a + n);
    }
    (1.0 - sum).clamp(0.0, 1.0)
}

/// Γ(n / 2) for n of at least 1.
fn gamma_of_half(n: u32) -> f64 {
    match n {
        1 => std::f64::consts::PI.sqrt(),
        2 => 1.0,
        _ => (f64::from(n) / 2.0 - 1.0) * gamma_of_half(n - 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_published_critical_values() {
        // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4.
        let table =
            [(1, 3.841, 0.05), (2, 13.816, 0.001), (3, 16.266, 0.001), (4, 9.488, 0.05), (10, 2.558, 0.99)];
        for (degrees, statistic, p) in table {
            let computed = exceeds(statistic, degrees);
            assert!((computed - p).abs() < p * 1e-3, "{degrees} degrees, {statistic}: {computed}");
        }
    }

    #[test]
    fn the_weights_themselves_are_certain_and_another_spread_is_not() {
        assert_eq!(test(&[500, 333, 167], &[3, 2, 1]).degrees, 2);
        assert!(test(&[500, 333, 167], &[3, 2, 1]).p > 0.99);
        assert!(test(&[333, 333, 334], &[3, 2, 1]).p < 1e-9);
        assert_eq!(test(&[0, 100_000], &[1, 1]).p, 0.0);
    }
}
