//! The short way through a text of which nothing counts but the grammar, as in answers.
//!
//! What is out of the ordinary is left to the [`Reader`](super::Reader), which knows what
//! is wrong with it and where, or that nothing is: each function here gives what the
//! reader would, or `None`.

use std::ops::Range;

use super::scan;

/// How many objects and arrays can be open at once here.
const MOST_LEVELS: u32 = 63;

const ARRAY: u64 = 0;
const OBJECT: u64 = 1;

/// What may stand in a value.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Objects and arrays inside each other, itself included.
    pub(super) levels: u32,
    /// Whether lone surrogates and numbers that no float holds are refused.
    pub(super) portable: bool,
}

/// The end of the value that begins here.
#[inline]
pub(super) fn value(bytes: &[u8], at: usize, bounds: Bounds) -> Option<usize> {
    match *bytes.get(at)? {
        b'"' => string(bytes, at + 1, bounds.portable),
        b'{' | b'[' => container(bytes, at, bounds),
        first => scalar(bytes, at, first, bounds.portable),
    }
}

/// The end of the object that begins here. Each member is told of, by the spans of its
/// name, without quotes, and its value; if one is not liked, there is no end.
#[inline]
pub(super) fn members(
    bytes: &[u8],
    at: usize,
    bounds: Bounds,
    mut is_liked: impl FnMut(Range<usize>, Range<usize>) -> bool,
) -> Option<usize> {
    let levels = bounds.levels.checked_sub(1)?;
    let inner = Bounds { levels, ..bounds };
    if *bytes.get(at)? != b'{' {
        return None;
    }
    let (mut byte, mut at) = next(bytes, at + 1)?;
    if byte == b'}' {
        return Some(at + 1);
    }
    loop {
        let name = name(bytes, (byte, at))?;
        let (_, start) = next(bytes, behind_colon(bytes, name.end + 1)?)?;
        let end = value(bytes, start, inner)?;
        if !is_liked(name, start..end) {
            return None;
        }
        (byte, at) = next(bytes, end)?;
        match byte {
            b',' => (byte, at) = next(bytes, at + 1)?,
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The end of the object or array that begins here.
fn container(bytes: &[u8], start: usize, bounds: Bounds) -> Option<usize> {
    let levels = bounds.levels.min(MOST_LEVELS);
    let portable = bounds.portable;
    // What is open, the innermost in the lowest bit, above a one for the outside.
    let mut open: u64 = 1;
    let (mut byte, mut at) = (*bytes.get(start)?, start);
    'value: loop {
        match byte {
            b'"' => at = string(bytes, at + 1, portable)?,
            b'{' => {
                open = enter(open, OBJECT, levels)?;
                (byte, at) = next(bytes, at + 1)?;
                if byte != b'}' {
                    at = member(bytes, (byte, at), portable)?;
                    (byte, at) = next(bytes, at)?;
                    continue;
                }
            }
            b'[' => {
                open = enter(open, ARRAY, levels)?;
                (byte, at) = next(bytes, at + 1)?;
                if byte != b']' {
                    continue;
                }
            }
            _ => at = scalar(bytes, at, byte, portable)?,
        }
        // A value has ended, or an empty container is about to.
        loop {
            (byte, at) = next(bytes, at)?;
            at += 1;
            if byte == b',' {
                (byte, at) = next(bytes, at)?;
                if open & 1 == OBJECT {
                    at = member(bytes, (byte, at), portable)?;
                    (byte, at) = next(bytes, at)?;
                }
                continue 'value;
            }
            if byte != closing(open) {
                return None;
            }
            open >>= 1;
            if open == 1 {
                return Some(at);
            }
        }
    }
}

/// With one more open, if there may be one.
#[inline(always)]
fn enter(open: u64, kind: u64, levels: u32) -> Option<u64> {
    (open >> levels == 0).then_some(open << 1 | kind)
}

/// What ends the innermost.
#[inline(always)]
fn closing(open: u64) -> u8 {
    match open & 1 {
        OBJECT => b'}',
        _ => b']',
    }
}

/// The first byte that is not white space, and where it stands.
#[inline(always)]
fn next(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let byte = *bytes.get(at)?;
    if byte > b' ' {
        return Some((byte, at));
    }
    behind_space(bytes, at)
}

#[inline(never)]
fn behind_space(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let at = scan::space(bytes, at);
    Some((*bytes.get(at)?, at))
}

/// What follows the colon behind the name of a member, of which this is the first byte.
#[inline(always)]
fn member(bytes: &[u8], (byte, at): (u8, usize), portable: bool) -> Option<usize> {
    if byte != b'"' {
        return None;
    }
    behind_colon(bytes, string(bytes, at + 1, portable)?)
}

#[inline(always)]
fn behind_colon(bytes: &[u8], at: usize) -> Option<usize> {
    let (byte, colon) = next(bytes, at)?;
    (byte == b':').then_some(colon + 1)
}

/// The short name without escape sequences of which this is the first byte, without its
/// quotes.
#[inline(always)]
fn name(bytes: &[u8], (byte, at): (u8, usize)) -> Option<Range<usize>> {
    if byte != b'"' {
        return None;
    }
    let start = at + 1;
    let end = start + scan::special_in_next(bytes.get(start..)?)?;
    (*bytes.get(end)? == b'"').then_some(start..end)
}

/// What follows the string of which `start` is behind the quote.
#[inline(always)]
fn string(bytes: &[u8], start: usize, portable: bool) -> Option<usize> {
    // Most are short.
    let Some(length) = scan::special_in_next(bytes.get(start..)?) else {
        return rest_of_string(bytes, start, portable);
    };
    let end = start + length;
    match *bytes.get(end)? {
        b'"' => Some(end + 1),
        _ => rest_of_string(bytes, end, portable),
    }
}

#[inline(never)]
fn rest_of_string(bytes: &[u8], mut at: usize, portable: bool) -> Option<usize> {
    loop {
        at = scan::plain_run(bytes, at);
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = scan::escape(bytes, at, portable).ok()?,
            _ => return None,
        }
    }
}

/// The end of a number, or of a word, of which this is the first byte.
#[inline(always)]
fn scalar(bytes: &[u8], at: usize, first: u8, portable: bool) -> Option<usize> {
    match first {
        b'1'..=b'9' => integer(bytes, at).or_else(|| scan::scalar(bytes, at, portable).ok()),
        b't' => word(bytes, at, b"true"),
        b'f' => word(bytes, at, b"false"),
        b'n' => word(bytes, at, b"null"),
        _ => scan::scalar(bytes, at, portable).ok(),
    }
}

#[inline(always)]
fn word<const N: usize>(bytes: &[u8], at: usize, word: &[u8; N]) -> Option<usize> {
    let written = bytes.get(at..)?.first_chunk::<N>()?;
    (written == word).then_some(at + N)
}

/// The end of a short integer that begins with this digit, and not with a zero.
#[inline(always)]
fn integer(bytes: &[u8], at: usize) -> Option<usize> {
    const LONGEST: usize = 20;
    let digits = bytes.get(at..)?.iter().take(LONGEST);
    let length = digits.take_while(|byte| byte.is_ascii_digit()).count();
    let end = at + length;
    let follows = *bytes.get(end)?;
    let goes_on = follows.is_ascii_digit() || matches!(follows, b'.' | b'e' | b'E');
    (!goes_on).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::super::{Error, ErrorKind, Profile, Reader};
    use super::*;

    fn end(text: &[u8], levels: u32, portable: bool) -> Option<usize> {
        value(text, 0, Bounds { levels, portable })
    }

    fn nested(levels: usize) -> Vec<u8> {
        let (open, close) = (r#"[{"a":"#.repeat(levels / 2), "}]".repeat(levels / 2));
        let (odd, end) = match levels % 2 {
            0 => ("", ""),
            _ => ("[", "]"),
        };
        format!("{open}{odd}1{end}{close}").into_bytes()
    }

    fn skipped(text: &[u8]) -> Result<usize, ErrorKind> {
        let mut reader = Reader::new(text, Profile::ANSWER).unwrap();
        let skipped = reader.skip();
        skipped.map(|span| span.end).map_err(|error| error.kind())
    }

    #[test]
    fn what_is_too_deep_for_the_short_way_goes_the_long_one() {
        for levels in 1..=70 {
            let text = nested(levels);
            let is_short = levels <= MOST_LEVELS as usize;
            let expected = Some(text.len()).filter(|_| is_short);
            assert_eq!(end(&text, u32::MAX, false), expected, "{levels}");
            assert_eq!(skipped(&text), Ok(text.len()), "{levels}");
        }
        let deepest = nested(1024);
        assert_eq!(skipped(&deepest), Ok(deepest.len()));
        assert_eq!(skipped(&nested(1025)), Err(ErrorKind::TooDeep));
    }

    #[test]
    fn what_stands_around_a_value_counts_for_its_depth() {
        for around in 1..=3_usize {
            for levels in 60..=66 {
                let (open, close) = ("[".repeat(around), "]".repeat(around));
                let inside = String::from_utf8(nested(levels)).unwrap();
                // Short names are only told where something follows.
                let entry = format!(r#"{{"a":{inside}}}{}"#, " ".repeat(16));
                for (text, deepest) in [(&inside, around + levels), (&entry, around + levels + 1)] {
                    let is_entry = deepest > around + levels;
                    let text = format!("{open}{text}{close}");
                    let mut reader = Reader::new(text.as_bytes(), Profile::JUDGED).unwrap();
                    let read = into(&mut reader, around, is_entry);
                    let expected = (deepest <= 64).then_some(()).ok_or(ErrorKind::TooDeep);
                    assert_eq!(read.map_err(|error| error.kind()), expected, "{text}");
                }
            }
        }
    }

    /// Reads what stands in so many arrays.
    fn into(reader: &mut Reader<'_>, around: usize, is_entry: bool) -> Result<(), Error> {
        if around > 0 {
            return reader.array(|reader| into(reader, around - 1, is_entry));
        }
        if is_entry && reader.plain_object(|_, _| true) {
            return Ok(());
        }
        reader.skip().map(drop)
    }

    #[test]
    fn no_more_levels_are_passed_than_there_may_be() {
        for levels in 1..=5_u32 {
            let text = nested(levels as usize);
            for most in 0..=6 {
                let expected = Some(text.len()).filter(|_| levels <= most);
                assert_eq!(end(&text, most, true), expected, "{levels} of {most}");
            }
        }
    }

    /// The names and values of an object, if it is plain.
    fn told(text: &str, levels: u32) -> Option<Vec<(&str, &str)>> {
        let mut told = Vec::new();
        let portable = false;
        let bounds = Bounds { levels, portable };
        // Names are short only where something follows.
        let long = format!("{text}{}", " ".repeat(16));
        let end = members(long.as_bytes(), 0, bounds, |name, value| {
            told.push((&text[name], &text[value]));
            true
        });
        end.map(|end| assert_eq!(end, text.len()))?;
        Some(told)
    }

    #[test]
    fn members_are_told_as_they_are_written() {
        let text = "{ \"a\" : [1,{}] ,\t\"\":\"x\\n\",\"b\":12.5,\"b\":null }";
        let expected = [
            ("a", "[1,{}]"),
            ("", "\"x\\n\""),
            ("b", "12.5"),
            ("b", "null"),
        ];
        assert_eq!(told(text, 3).as_deref(), Some(&expected[..]));
        assert_eq!(told(text, 2), None);
        assert_eq!(told("{ }", 1).as_deref(), Some(&[][..]));
        for text in [
            "{}",
            "[]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\" 1}",
            "{\"a\":1]",
            "{1:1}",
            "{\"\\n\":1}",
            "{\"a name that is long\":1}",
            "{\"a\":01}",
            "{,}",
        ] {
            let levels = u32::from(text != "{}");
            assert_eq!(told(text, levels), None, "{text}");
        }
        let unliked = members(
            b"{\"a\":1}",
            0,
            Bounds {
                levels: 1,
                portable: false,
            },
            |_, _| false,
        );
        assert_eq!(unliked, None);
    }

    #[test]
    fn scalars_end_where_the_long_way_ends_them() {
        let digits = "9".repeat(400);
        for text in [
            "1",
            "10",
            "1234567890123456789",
            "12345678901234567890",
            "123456789012345678901",
            "0",
            "-1",
            "1.5",
            "1e5",
            "1E5",
            "1.",
            "1e",
            "01",
            "00",
            "true",
            "truE",
            "tru",
            "false",
            "null",
            "nul",
            "x",
            "",
            &digits,
        ] {
            for follows in ["", ",", " ", "0", "x", "]"] {
                let text = format!("{text}{follows}");
                for portable in [false, true] {
                    let slow = scan::scalar(text.as_bytes(), 0, portable).ok();
                    let fast = end(text.as_bytes(), 0, portable);
                    // At the very end of a text there is nothing to see what follows.
                    let is_end = fast.is_none() && slow == Some(text.len());
                    assert!(fast == slow || is_end, "{text}: {fast:?} {slow:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_broken_goes_the_long_way() {
        for text in [
            "",
            "{",
            "[",
            "{]",
            "[}",
            "[1}",
            "{\"a\":1]",
            "{1:1}",
            "{\"a\"}",
            "{\"a\":}",
            "[,]",
            "[1,]",
            "{\"a\":1,}",
            "{,}",
            "[1 2]",
            "[\"]",
            "[\"\\x\"]",
            "[\"\u{1}\"]",
            "[nul]",
            "[01]",
        ] {
            assert_eq!(end(text.as_bytes(), 9, false), None, "{text:?}");
        }
    }

    #[test]
    fn only_what_any_reader_can_hold_is_portable() {
        for text in ["[1e999]", r#"["\ud800"]"#, r#"{"\ud800":1}"#] {
            let length = Some(text.len());
            assert_eq!(end(text.as_bytes(), 9, false), length, "{text}");
            assert_eq!(end(text.as_bytes(), 9, true), None, "{text}");
        }
    }
}
