//! A JSON text in the one form that says the same, so that two texts can be
//! compared or digested by what they say.
//!
//! Members and strings are written as in RFC 8785: without white space, members
//! sorted by the UTF-16 code units of their names, and nothing escaped that need
//! not be. Numbers are not, because that would round them to 64-bit floats: one
//! that is not zero is written as all of its significant digits, as a whole number,
//! with the power of ten behind an `e` unless that is zero (`15e-1`, `1e2`).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::write::string;
use super::{Error, Kind, Reader};

/// Why a text has no such form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Json(Error),
    /// A power of ten is beyond 64 bits, though the number be finite.
    Number,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Number => f.write_str("there is a number too small to be told from others"),
        }
    }
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        Self::Json(error)
    }
}

/// Whether a member is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Kept,
    LeftOut,
}

/// Writes the value that comes next, behind what is there.
///
/// Recursion is bounded by the depth that the reader's profile allows.
pub(crate) fn value(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    match reader.kind()? {
        Kind::Null | Kind::Bool => {
            let span = reader.skip()?;
            out.extend_from_slice(reader.raw(&span));
        }
        Kind::Number => {
            let span = reader.skip()?;
            number(&String::from_utf8_lossy(reader.raw(&span)), out)?;
        }
        Kind::String => {
            let text = reader.string()?;
            string(&reader.decode(text), out);
        }
        Kind::Array => {
            out.push(b'[');
            let mut is_first = true;
            reader.array(|reader| {
                if !std::mem::take(&mut is_first) {
                    out.push(b',');
                }
                value(reader, out)
            })?;
            out.push(b']');
        }
        Kind::Object => object(reader, out, |reader, _, out| {
            value(reader, out)?;
            Ok(Member::Kept)
        })?,
    }
    Ok(())
}

/// Writes the object that comes next, behind what is there. `member` is called with
/// each name, must read exactly one value, and writes it unless it is left out.
///
/// What an object holds is moved once for each object around it: no more often than
/// the reader's profile allows them to be nested.
pub(crate) fn object<'a>(
    reader: &mut Reader<'a>,
    out: &mut Vec<u8>,
    mut member: impl FnMut(&mut Reader<'a>, &str, &mut Vec<u8>) -> Result<Member, Unreadable>,
) -> Result<(), Unreadable> {
    let start = out.len();
    let mut members: Vec<(Cow<'a, str>, Range<usize>)> = Vec::new();
    reader.object(|reader, name| {
        let name = reader.decode(name);
        let from = out.len();
        string(&name, out);
        out.push(b':');
        if member(reader, &name, out)? == Member::Kept {
            members.push((name, from..out.len()));
        }
        Ok::<(), Unreadable>(())
    })?;
    members.sort_by_cached_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
    let mut sorted = Vec::with_capacity(out.len().saturating_sub(start));
    for (_, span) in members {
        if !sorted.is_empty() {
            sorted.push(b',');
        }
        sorted.extend_from_slice(out.get(span).unwrap_or_default());
    }
    out.truncate(start);
    out.push(b'{');
    out.append(&mut sorted);
    out.push(b'}');
    Ok(())
}

/// Writes a number of which the token is given.
fn number(token: &str, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let (sign, token) = match token.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", token),
    };
    let (significand, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let (whole, fraction) = significand.split_once('.').unwrap_or((significand, ""));
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        // However it is written: also -0.
        out.push(b'0');
        return Ok(());
    }
    let length = |text: &str| i64::try_from(text.len()).ok();
    let exponent: Option<i64> = exponent.parse().ok();
    let exponent = exponent
        .and_then(|exponent| exponent.checked_sub(length(fraction)?))
        .and_then(|exponent| exponent.checked_add(length(digits)?))
        .and_then(|exponent| exponent.checked_sub(length(significant)?))
        .ok_or(Unreadable::Number)?;
    out.extend_from_slice(sign.as_bytes());
    out.extend_from_slice(significant.as_bytes());
    if exponent != 0 {
        out.extend_from_slice(format!("e{exponent}").as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::{ErrorKind, Profile};

    fn canonical(text: &str) -> Result<String, Unreadable> {
        let mut reader = Reader::new(text.as_bytes(), Profile::MESSAGE)?;
        let mut out = b"before".to_vec();
        value(&mut reader, &mut out)?;
        reader.finish()?;
        Ok(String::from_utf8(out.split_off(6)).unwrap())
    }

    #[test]
    fn members_and_strings_are_as_in_rfc_8785() {
        for (text, expected) in [
            (" { } ", "{}"),
            ("[ ]", "[]"),
            ("[ null , true,false ]", "[null,true,false]"),
            (
                r#"{"b":{"d":1,"c":[{"f":2,"e":3}]},"a":""}"#,
                r#"{"a":"","b":{"c":[{"e":3,"f":2}],"d":1}}"#,
            ),
            // The example of its section 3.2.2, but for the numbers.
            (
                r#"{"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#,
                r#"{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
            ),
            (
                r#""\b\t\n\f\r\u001f\u007f\u2028\ud83d\ude00""#,
                "\"\\b\\t\\n\\f\\r\\u001f\u{7f}\u{2028}😀\"",
            ),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        }
    }

    /// The example of section 3.2.3 of RFC 8785: a character beyond U+FFFF stands
    /// before one that is not.
    #[test]
    fn names_are_sorted_by_code_units_of_utf_16() {
        let text = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        let expected = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}";
        assert_eq!(canonical(text).as_deref(), Ok(expected));
    }

    #[test]
    fn numbers_are_exact_whatever_their_size() {
        for (token, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.000e-7", "0"),
            ("0e99999999999999999999", "0"),
            ("1", "1"),
            ("-1.50", "-15e-1"),
            ("100", "1e2"),
            ("1e2", "1e2"),
            ("1E+02", "1e2"),
            ("100.0", "1e2"),
            ("0.01e4", "1e2"),
            ("10e-1", "1"),
            ("9007199254740993", "9007199254740993"),
            ("9007199254740992", "9007199254740992"),
            (
                "0.1000000000000000055511151231257827",
                "1000000000000000055511151231257827e-34",
            ),
            ("1e-400", "1e-400"),
            ("1e-9223372036854775808", "1e-9223372036854775808"),
        ] {
            assert_eq!(canonical(token).as_deref(), Ok(expected), "{token}");
        }
        let long = format!("1{}1", "0".repeat(300));
        assert_eq!(canonical(&long), Ok(long.clone()));
    }

    /// Nothing is taken for the same that is not.
    #[test]
    fn a_power_of_ten_beyond_64_bits_is_refused() {
        for token in ["1e-9223372036854775809", "1.1e-9223372036854775808"] {
            assert_eq!(canonical(token), Err(Unreadable::Number), "{token}");
        }
    }

    #[test]
    fn what_the_strict_reader_refuses_has_no_such_form() {
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        for (text, expected) in [
            (r#"{"a":1,"a":1}"#, ErrorKind::DuplicateKey),
            (r#"{"a":{"b":1,"\u0062":1}}"#, ErrorKind::DuplicateKey),
            (&deep, ErrorKind::TooDeep),
            (r#""\ud800""#, ErrorKind::LoneSurrogate),
            ("1e400", ErrorKind::NumberOutOfRange),
            ("[1", ErrorKind::UnexpectedEnd),
            ("1 1", ErrorKind::TrailingData),
        ] {
            let Err(Unreadable::Json(error)) = canonical(text) else {
                panic!("{text}");
            };
            assert_eq!(error.kind(), expected, "{text}");
        }
    }

    #[test]
    fn a_member_that_is_left_out_leaves_nothing() {
        let text = br#"{"b":[1],"secret":{"x":[1]},"a":2}"#;
        let mut reader = Reader::new(text, Profile::MESSAGE).unwrap();
        let mut out = Vec::new();
        let kept = object(&mut reader, &mut out, |reader, name, out| {
            value(reader, out)?;
            Ok(if name == "secret" {
                Member::LeftOut
            } else {
                Member::Kept
            })
        });
        assert_eq!(kept, Ok(()));
        assert_eq!(out, br#"{"a":2,"b":[1]}"#);
    }

    /// A number written out: its sign, and so many digits before and behind the
    /// point.
    fn written_out(token: &str) -> (bool, String) {
        const PLACES: i64 = 1_000;
        let (negative, rest) = match token.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, token),
        };
        let (significand, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = significand.split_once('.').unwrap_or((significand, ""));
        let point = i64::try_from(whole.len()).unwrap() + exponent.parse::<i64>().unwrap();
        let mut out = "0".repeat((PLACES - point).try_into().unwrap());
        out.push_str(whole);
        out.push_str(fraction);
        out.push_str(&"0".repeat(2_000 - out.len()));
        (negative && out.contains(|digit| digit != '0'), out)
    }

    const NUMBER: &str = "-?(0|[1-9]0{0,3}[0-9]{0,20}0{0,3})(\\.0{0,3}[0-9]{1,20}0{0,3})?([eE][+-]?0{0,2}[0-9]{1,2})?";
    const SMALL: &str = "-?(0|1|10|100|12)(\\.(0|00|01|10|2))?([eE][+-]?[0-3])?";

    proptest! {
        #[test]
        fn a_number_keeps_its_value(token in NUMBER) {
            let canonical = canonical(&token).unwrap();
            prop_assert_eq!(written_out(&canonical), written_out(&token));
        }

        /// Numbers are one if and only if they have the same value.
        #[test]
        fn a_value_has_one_form(one in SMALL, other in SMALL) {
            let same = written_out(&one) == written_out(&other);
            prop_assert_eq!(canonical(&one) == canonical(&other), same);
        }
    }
}
