//! Numbers as exact decimals.
//!
//! A number is only compared if every reader takes its token for the same
//! value, whether that reader has integers, decimals or 64-bit floats. Such a
//! token never has more than 17 significant digits, so that comparing needs
//! neither floats nor big integers.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use smallvec::SmallVec;

/// Digits that always suffice to name a 64-bit float.
const DIGITS: u32 = 17;

/// With so many digits two different numbers never have the same nearest
/// 64-bit float, as long as their magnitude is an ordinary one.
const SAFE_DIGITS: u32 = 15;

/// The largest magnitude of an integer that is readable however it is spelt.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// An exact decimal number that every reader reads alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) struct Number {
    /// -1, 0 or 1.
    sign: i8,
    /// The power of ten in `0.MANTISSA × 10^exponent`.
    exponent: i32,
    /// 17 digits of which the first is not zero; 0 for zero.
    mantissa: u64,
}

impl Number {
    const ZERO: Self = Self {
        sign: 0,
        exponent: 0,
        mantissa: 0,
    };

    /// Reads the token of a JSON number; nothing if it is not readable.
    pub(in crate::policy) fn read(token: &str) -> Option<Self> {
        let (number, digits) = scan(token)?;
        let ordinary = digits <= SAFE_DIGITS && (-290..=290).contains(&number.exponent);
        let readable = ordinary || scan(&shortest(token)?)?.0 == number;
        readable.then_some(number)
    }

    /// The same, of the bytes of a token.
    #[inline]
    pub(in crate::policy) fn of_bytes(token: &[u8]) -> Option<Self> {
        short_integer(token).or_else(|| Self::read(std::str::from_utf8(token).ok()?))
    }

    /// The integer that it is, if it is one within ±(2^53 - 1).
    pub(in crate::policy) fn to_integer(self) -> Option<i64> {
        if self.sign == 0 {
            return Some(0);
        }
        // The power of ten of the last of the 17 digits is negative or zero for
        // every integer in reach.
        let places = DIGITS.checked_sub(u32::try_from(self.exponent).ok()?)?;
        let unit = 10_u64.checked_pow(places)?;
        if self.mantissa % unit != 0 {
            return None;
        }
        let magnitude = self.mantissa / unit;
        let magnitude = i64::try_from(magnitude)
            .ok()
            .filter(|_| magnitude <= MAX_INTEGER)?;
        Some(magnitude * i64::from(self.sign))
    }
}

/// A mantissa of 17 digits whose unit is a millionth has this power of ten.
const MILLIONTHS_EXPONENT: i32 = 11;

/// A number as a whole number of millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum InMillionths {
    Exactly(u64),
    /// It has more decimals, and is a little less than this.
    RoundedUp(u64),
    Negative,
    /// More than there are.
    TooMany,
}

impl Number {
    pub(in crate::policy) fn in_millionths(self) -> InMillionths {
        match self.sign {
            0 => return InMillionths::Exactly(0),
            1 => {}
            _ => return InMillionths::Negative,
        }
        // `mantissa × 10^power` of them.
        let power = self.exponent - MILLIONTHS_EXPONENT;
        let factor = 10_u64.checked_pow(power.unsigned_abs());
        if power >= 0 {
            let millionths = factor.and_then(|factor| self.mantissa.checked_mul(factor));
            return millionths.map_or(InMillionths::TooMany, InMillionths::Exactly);
        }
        match factor {
            Some(unit) if self.mantissa % unit == 0 => InMillionths::Exactly(self.mantissa / unit),
            Some(unit) => InMillionths::RoundedUp(self.mantissa.div_ceil(unit)),
            // Less than one.
            None => InMillionths::RoundedUp(1),
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let magnitude = |number: &Self| (number.exponent, number.mantissa);
        self.sign.cmp(&other.sign).then_with(|| {
            if self.sign < 0 {
                magnitude(other).cmp(&magnitude(self))
            } else {
                magnitude(self).cmp(&magnitude(other))
            }
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The value of an integer of few digits, which every reader takes for the same, unless
/// it begins with a zero or a sign.
#[inline]
fn short_integer(token: &[u8]) -> Option<Number> {
    let digits = u32::try_from(token.len()).ok()?;
    if digits > SAFE_DIGITS || !matches!(token.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut value = 0_u64;
    for byte in token {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value = value * 10 + u64::from(digit);
    }
    Some(Number {
        sign: 1,
        exponent: i32::try_from(digits).ok()?,
        mantissa: value * 10_u64.pow(DIGITS - digits),
    })
}

/// The exact value of a token and how many significant digits it has; nothing
/// if these are too many, or the value is out of every reach.
fn scan(token: &str) -> Option<(Number, u32)> {
    let (sign, rest) = match token.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, token),
    };
    let (significand, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (rest.get(..at)?, rest.get(at.checked_add(1)?..)?),
        None => (rest, "0"),
    };
    let mut mantissa = 0_u64;
    let mut digits = 0_u32;
    // Zeros that only count if another digit follows.
    let mut zeros = 0_u32;
    let mut fraction: Option<i64> = None;
    for byte in significand.bytes() {
        match byte {
            b'.' => {
                fraction = Some(0);
                continue;
            }
            b'0' => zeros = zeros.checked_add(u32::from(digits > 0))?,
            b'1'..=b'9' => {
                let more = zeros.checked_add(1)?;
                digits = digits
                    .checked_add(more)
                    .filter(|&digits| digits <= DIGITS)?;
                mantissa = mantissa * 10_u64.checked_pow(more)? + u64::from(byte - b'0');
                zeros = 0;
            }
            _ => return None,
        }
        fraction = fraction.map(|places| places.saturating_add(1));
    }
    if significand.is_empty() {
        return None;
    }
    if digits == 0 {
        return Some((Number::ZERO, 0));
    }
    let exponent = power(exponent)?
        .saturating_sub(fraction.unwrap_or(0))
        .saturating_add(i64::from(zeros) + i64::from(digits));
    let number = Number {
        sign,
        // Far more than any finite float has, either way.
        exponent: i32::try_from(exponent)
            .ok()
            .filter(|e| (-400..=400).contains(e))?,
        mantissa: mantissa * 10_u64.checked_pow(DIGITS - digits)?,
    };
    Some((number, digits))
}

/// The number behind the `e`, as far as it makes a difference.
fn power(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let mut power = 0_i64;
    for byte in digits.bytes() {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        power = power.saturating_mul(10).saturating_add(i64::from(digit));
    }
    Some(if negative { -power } else { power })
}

/// The shortest decimal that names the 64-bit float nearest to the token.
fn shortest(token: &str) -> Option<Short> {
    let float = token
        .parse::<f64>()
        .ok()
        .filter(|float| float.is_finite())?;
    let mut short = Short(SmallVec::new());
    write!(short, "{float:e}").ok()?;
    Some(short)
}

/// A short ASCII text.
struct Short(SmallVec<[u8; 32]>);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl std::ops::Deref for Short {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(token: &str) -> Number {
        Number::read(token).unwrap_or_else(|| panic!("{token} is readable"))
    }

    #[test]
    fn the_spelling_does_not_matter() {
        for (one, other) in [
            ("1e2", "100"),
            ("1.0", "1"),
            ("10E+1", "100"),
            ("0.5", "5e-1"),
            ("-0", "0"),
            ("-0.0e5", "0"),
            ("0e999999999999999999999", "0"),
            ("9007199254740991.000", "9007199254740991"),
            ("0.9007199254740991e16", "9007199254740991"),
            ("0.00000000000000000000000000000000000000001e41", "1"),
            ("1e22", "10000000000000000000000"),
        ] {
            assert_eq!(read(one), read(other), "{one} {other}");
        }
        let zeros = "0".repeat(100_000);
        assert_eq!(read(&format!("1{zeros}e-100000")), read("1"));
        assert_eq!(read(&format!("0.{zeros}1e100001")), read("1"));
    }

    #[test]
    fn what_readers_round_is_not_readable() {
        let long_integer = "1".repeat(40);
        for token in [
            "9007199254740993",
            "-9007199254740993",
            "500.00000000000000001",
            "0.30000000000000001",
            "0.1000000000000000055511151231257827021181583404541015625",
            long_integer.as_str(),
            "10000000000000000000000000000000000000001",
            "1e400",
            "-1e400",
            "1e99999999999999999999",
            "1e-400",
            "1e-99999999999999999999",
            "1e-324",
            "2.4703282292062327e-324",
        ] {
            assert_eq!(Number::read(token), None, "{token}");
        }
    }

    #[test]
    fn what_names_its_float_is_readable() {
        for token in [
            "9007199254740991",
            "9007199254740992",
            "9007199254740994",
            "0.1",
            "0.2",
            "0.30000000000000004",
            "9007199254740990",
            "9007199254740991.000",
            "1.7976931348623157e308",
            "5e-324",
            "2.2250738585072014e-308",
        ] {
            read(token);
        }
        assert!(read("0.3") < read("0.30000000000000004"));
        assert!(read("9007199254740991") < read("9007199254740992"));
    }

    #[test]
    fn nothing_but_a_number_is_one() {
        for token in [
            "", "-", "e5", "x", "1x", "1e1x", "1e:", "1e/", "NaN", "Infinity",
        ] {
            assert_eq!(Number::read(token), None, "{token:?}");
        }
    }

    #[test]
    fn integers_are_told_within_their_bounds() {
        for (token, integer) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1e2", Some(100)),
            ("-12.0", Some(-12)),
            ("0.5", None),
            ("12.25", None),
            ("9007199254740991", Some(9_007_199_254_740_991)),
            ("-9007199254740991", Some(-9_007_199_254_740_991)),
            ("9007199254740992", None),
            ("1e16", None),
            ("1e300", None),
        ] {
            assert_eq!(read(token).to_integer(), integer, "{token}");
        }
    }

    #[test]
    fn millionths_are_exact_or_rounded_up() {
        use InMillionths::{Exactly, Negative, RoundedUp, TooMany};
        for (token, expected) in [
            ("0", Exactly(0)),
            ("-0", Exactly(0)),
            ("-0.0e3", Exactly(0)),
            ("1", Exactly(1_000_000)),
            ("1e-6", Exactly(1)),
            ("0.1", Exactly(100_000)),
            ("0.30000000000000004", RoundedUp(300_001)),
            ("0.0000001", RoundedUp(1)),
            ("0.0000011", RoundedUp(2)),
            ("5e-324", RoundedUp(1)),
            ("9007199254740991", TooMany),
            ("9000000000000", Exactly(9_000_000_000_000_000_000)),
            ("1e13", Exactly(10_000_000_000_000_000_000)),
            ("18446744073709", Exactly(18_446_744_073_709_000_000)),
            ("18446744073710", TooMany),
            ("1e14", TooMany),
            ("1e308", TooMany),
            ("-1e308", Negative),
            ("-1e-9", Negative),
        ] {
            assert_eq!(read(token).in_millionths(), expected, "{token}");
        }
    }

    /// Sign, and the digits before and behind the point, of a token.
    fn written_out(token: &str) -> (bool, String) {
        const PLACES: usize = 1200;
        let (negative, rest) = match token.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, token),
        };
        let (significand, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = significand.split_once('.').unwrap_or((significand, ""));
        let digits = format!("{whole}{fraction}");
        let point = whole.len() as i64 + exponent.parse::<i64>().unwrap();
        let before = PLACES as i64 - point;
        let mut out = "0".repeat(usize::try_from(before).unwrap());
        out.push_str(&digits);
        out.push_str(&"0".repeat(2 * PLACES - out.len()));
        (negative && out.contains(|c| c != '0'), out)
    }

    fn exact_order(one: &str, other: &str) -> Ordering {
        match (written_out(one), written_out(other)) {
            ((false, one), (false, other)) => one.cmp(&other),
            ((true, one), (true, other)) => other.cmp(&one),
            ((true, _), (false, _)) => Ordering::Less,
            ((false, _), (true, _)) => Ordering::Greater,
        }
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_decimals(
            one in "-?(0|[1-9][0-9]{0,16})(\\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?",
            other in "-?(0|[1-9][0-9]{0,16})(\\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?",
        ) {
            if let (Some(x), Some(y)) = (Number::read(&one), Number::read(&other)) {
                prop_assert_eq!(x.cmp(&y), exact_order(&one, &other));
                prop_assert_eq!(x == y, x.cmp(&y) == Ordering::Equal);
            }
        }

        #[test]
        fn short_integers_are_read_as_all_others(
            token in "[0-9]{0,18}|-?[1-9][0-9]{0,3}(\\.[0-9]{1,3})?(e[0-9])?|[0-9/:.e-]{0,5}|\\PC{0,2}",
        ) {
            prop_assert_eq!(Number::of_bytes(token.as_bytes()), Number::read(&token));
            if let Some(number) = short_integer(token.as_bytes()) {
                prop_assert_eq!(Some(number), Number::read(&token));
            }
        }

        #[test]
        fn close_numbers_keep_their_order(one in 0_u64..100, other in 0_u64..100, e in -20..20) {
            let (one, other) = (format!("-{one}e{e}"), format!("-{other}e{e}"));
            prop_assert_eq!(read(&one).cmp(&read(&other)), exact_order(&one, &other));
        }

        #[test]
        fn readable_is_what_the_page_says(
            token in "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?",
        ) {
            let float: f64 = token.parse().unwrap();
            prop_assume!(float.is_finite());
            // The nearest float's shortest decimal, or an integer in reach.
            let short = format!("{float:e}");
            let named = exact_order(&token, &short) == Ordering::Equal;
            let integer = float.abs() < 9_007_199_254_740_992.0
                && exact_order(&token, &format!("{}", float.trunc())) == Ordering::Equal;
            prop_assert_eq!(Number::read(&token).is_some(), named || integer);
        }

        #[test]
        fn the_shortest_name_of_a_float_is_readable(bits in any::<u64>()) {
            let float = f64::from_bits(bits);
            prop_assume!(float.is_finite());
            for token in [format!("{float:e}"), format!("{float}")] {
                prop_assert!(Number::read(&token).is_some(), "{}", token);
            }
        }
    }
}
