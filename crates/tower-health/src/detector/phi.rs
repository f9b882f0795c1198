//! The suspicion that a silence means death, as phi accrual computes it. Plain arithmetic.
//!
//! Phi is minus the decimal logarithm of the chance that a beat comes later than this, if
//! intervals are normally distributed: at 1 one silence in ten is that long, at 8 one in a
//! hundred million. The normal distribution is taken by its logistic approximation, as
//! Akka does; in that form it can be solved backwards, for the silence at which phi is reached.

use std::f64::consts::LN_10;

/// Phi at a silence that is `y` deviations longer than the mean.
pub(crate) fn phi(y: f64) -> f64 {
    let g = exponent(y);
    // e to the 700 is as far as a float reaches; there, adding one changes nothing.
    if g > 700.0 { g / LN_10 } else { g.exp().ln_1p() / LN_10 }
}

/// How many deviations beyond the mean the silence is at which `phi` is reached.
pub(crate) fn deviations(phi_wanted: f64) -> f64 {
    let (mut low, mut high) = (-50.0, 50.0);
    // A float has no more bits than that.
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        if phi(middle) < phi_wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

fn exponent(y: f64) -> f64 {
    y * (1.5976 + 0.070_566 * y * y)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_the_chance_of_a_later_beat() {
        // Of the normal distribution: the tail beyond 0, 1.2816, 2.3263, 3.0902 deviations.
        for (y, tail) in [(0.0, 0.5_f64), (1.2816, 0.1), (2.3263, 0.01), (3.0902, 0.001)] {
            let expected = -tail.log10();
            assert!((phi(y) - expected).abs() < 0.06, "{y}: {} is not {expected}", phi(y));
        }
        // And it neither overflows nor vanishes.
        assert!(phi(1e6).is_finite() && phi(-1e6) >= 0.0);
    }

    proptest! {
        #[test]
        fn it_rises_and_can_be_solved_backwards(wanted in 0.5..100.0, step in 0.001..1.0) {
            let y = deviations(wanted);
            prop_assert!((phi(y) - wanted).abs() < 1e-6, "{} {}", y, wanted);
            prop_assert!(phi(y + step) > phi(y));
        }
    }
}
