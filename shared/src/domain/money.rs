//! Money: US dollars with six decimals. Owns: rounding and the JSON form. Does not own: prices.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Serialize, Serializer};

/// An amount in US dollars, always at a whole number of millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(Decimal);

impl Money {
    /// The number of decimals, as in the database's `numeric(16,6)`.
    pub const SCALE: u32 = 6;
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// Rounds half to even to six decimals: the only rounding rule for money.
    #[must_use]
    pub fn rounded(value: Decimal) -> Self {
        Self(value.round_dp_with_strategy(Self::SCALE, RoundingStrategy::MidpointNearestEven))
    }

    /// Dollars.
    #[must_use]
    pub fn to_decimal(self) -> Decimal {
        self.0
    }

    #[must_use]
    pub fn is_positive(self) -> bool {
        self.0 > Decimal::ZERO
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.normalize().fmt(f)
    }
}

/// A JSON number with exactly the amount's digits: parsing rounds correctly, and serde prints the shortest text that
/// parses to the same number.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = self.to_string();
        serializer.serialize_f64(digits.parse().map_err(serde::ser::Error::custom)?)
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Money {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for Money {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        Money::rounded(text.parse().expect("a decimal"))
    }

    #[test]
    fn a_debit_is_the_negative_of_its_amount() {
        assert_eq!(-money("1.5"), money("-1.5"));
    }

    #[test]
    fn a_tie_rounds_to_the_even_millionth() {
        assert_eq!(money("0.0000005"), money("0"));
        assert_eq!(money("0.0000015"), money("0.000002"));
        assert_eq!(money("0.0000025"), money("0.000002"));
        assert_eq!(money("-0.0000015"), money("-0.000002"));
    }

    #[test]
    fn json_has_exactly_the_amounts_digits() {
        for digits in [
            "0.006667",
            "3.4825",
            "2.675",
            "9007199254.740993",
            "0.1",
            "-0.02",
        ] {
            assert_eq!(serde_json::to_string(&money(digits)).expect("json"), digits);
        }
        assert_eq!(
            serde_json::to_string(&money("5.000000")).expect("json"),
            "5.0"
        );
    }
}
