/// What a list request costs in the tokens of the server.
///
/// Most servers charge a page the same whether it holds 10 rows or 500, so a row of a small page is
/// dear. The controller weighs that: time alone never makes a row cost more than the configured
/// surcharge, and where rows are dear pages grow back sooner.
///
/// ```
/// use tower_adaptive_page::Price;
///
/// let flat = Price::per_page(20);
/// assert_eq!((flat.of_page(10), flat.of_page(500)), (20, 20));
/// // On pages of 10 a row costs fifty times what it costs on pages of 500.
/// assert_eq!(flat.surcharge(10, 500), 4900);
/// assert_eq!(Price::per_row(2).surcharge(10, 500), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Price {
    per_page: u32,
    per_row: u32,
}

impl Price {
    /// A page costs so many tokens, whatever it holds. The default, with one token.
    #[must_use]
    pub const fn per_page(tokens: u32) -> Self {
        Self { per_page: tokens, per_row: 0 }
    }

    /// A row costs so many tokens, and a page nothing by itself.
    #[must_use]
    pub const fn per_row(tokens: u32) -> Self {
        Self { per_page: 0, per_row: tokens }
    }

    /// Besides, each row costs so many tokens.
    #[must_use]
    pub const fn and_per_row(mut self, tokens: u32) -> Self {
        self.per_row = tokens;
        self
    }

    /// Tokens for a page of so many rows.
    #[must_use]
    pub const fn of_page(&self, rows: u32) -> u64 {
        self.per_page as u64 + self.per_row as u64 * rows as u64
    }

    /// How much dearer a row is on pages of `rows` than on pages of `most`, in percent, rounded
    /// down. Empty pages count as pages of one row.
    #[must_use]
    pub fn surcharge(&self, rows: u32, most: u32) -> u32 {
        ((self.times(rows, most) - 1.0) * 100.0 + 1e-9) as u32
    }

    /// How many times as much a row costs on pages of `rows` as on pages of `most`; at least 1.
    pub(crate) fn times(&self, rows: u32, most: u32) -> f64 {
        let least = self.of_row(most);
        // Rows that cost nothing are never dear.
        if least > 0.0 { (self.of_row(rows) / least).max(1.0) } else { 1.0 }
    }

    fn of_row(&self, rows: u32) -> f64 {
        f64::from(self.per_page) / f64::from(rows.max(1)) + f64::from(self.per_row)
    }

    /// The smallest page on which a row costs at most `percent` more than on pages of `most`.
    pub(crate) fn smallest(&self, most: u32, percent: u32) -> u32 {
        let may_cost = self.of_row(most) * (1.0 + f64::from(percent) / 100.0);
        let for_the_page = may_cost - f64::from(self.per_row);
        if self.per_page == 0 || for_the_page <= 0.0 {
            return if self.per_page == 0 { 1 } else { most.max(1) };
        }
        // A hair less, so that what divides evenly is not rounded up.
        let rows = (f64::from(self.per_page) / for_the_page - 1e-6).ceil();
        (rows as u32).clamp(1, most.max(1))
    }
}

impl Default for Price {
    fn default() -> Self {
        Self::per_page(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flat_price_halves_the_page_at_most_for_double_the_price() {
        assert_eq!(Price::per_page(20).smallest(500, 100), 250);
        assert_eq!(Price::per_page(20).smallest(500, 0), 500);
        assert_eq!(Price::per_page(20).smallest(500, 900), 50);
    }

    #[test]
    fn without_a_price_for_the_page_a_page_may_be_of_one_row() {
        assert_eq!(Price::per_row(20).smallest(500, 0), 1);
        assert_eq!(Price::per_page(0).smallest(500, 0), 1);
        assert_eq!(Price::per_page(0).surcharge(1, 500), 0);
    }

    proptest! {
        #[test]
        fn the_smallest_page_keeps_the_surcharge_and_one_row_less_does_not(
            per_page in 0_u32..10_000, per_row in 0_u32..100, most in 1_u32..10_000, percent in 0_u32..2_000,
        ) {
            let price = Price::per_page(per_page).and_per_row(per_row);
            let rows = price.smallest(most, percent);
            prop_assert!((1..=most).contains(&rows));
            let limit = 1.0 + f64::from(percent) / 100.0;
            prop_assert!(price.times(rows, most) <= limit + 1e-3, "{}", price.times(rows, most));
            if rows > 1 {
                prop_assert!(price.times(rows - 1, most) > limit - 1e-3);
            }
        }
    }
}
