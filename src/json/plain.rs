//! The short way through a text of which nothing counts but the grammar, as in answers.
//!
//! What is out of the ordinary is left to the [`Reader`](super::Reader), which knows what
//! is wrong with it and where, or that nothing is: each function here gives what the
//! reader would, or `None`.

use super::scan;
use super::string::Text;

/// How many objects and arrays can be open at once here.
const MOST_LEVELS: u32 = 63;

const ARRAY: u64 = 0;
const OBJECT: u64 = 1;

/// The end of the object or array that begins here and holds at most so many levels, its
/// own included.
pub(super) fn container(bytes: &[u8], mut at: usize, levels: u32, portable: bool) -> Option<usize> {
    let levels = levels.min(MOST_LEVELS);
    // What is open, the innermost in the lowest bit, above a one for the outside.
    let mut open: u64 = 1;
    'value: loop {
        at = scan::space(bytes, at);
        match *bytes.get(at)? {
            b'"' => at = string(bytes, at + 1, portable)?,
            b'{' => {
                open = enter(open, OBJECT, levels)?;
                at = scan::space(bytes, at + 1);
                if *bytes.get(at)? != b'}' {
                    at = member(bytes, at, portable)?;
                    continue;
                }
            }
            b'[' => {
                open = enter(open, ARRAY, levels)?;
                at = scan::space(bytes, at + 1);
                if *bytes.get(at)? != b']' {
                    continue;
                }
            }
            _ => at = scan::scalar(bytes, at, portable).ok()?,
        }
        // A value has ended, or an empty container is about to.
        loop {
            at = scan::space(bytes, at);
            let byte = *bytes.get(at)?;
            at += 1;
            if byte == b',' {
                if open & 1 == OBJECT {
                    at = member(bytes, at, portable)?;
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

/// What follows the colon behind the name of a member.
#[inline(always)]
fn member(bytes: &[u8], at: usize, portable: bool) -> Option<usize> {
    let quote = scan::space(bytes, at);
    if *bytes.get(quote)? != b'"' {
        return None;
    }
    let end = string(bytes, quote + 1, portable)?;
    behind_colon(bytes, end)
}

#[inline(always)]
fn behind_colon(bytes: &[u8], at: usize) -> Option<usize> {
    let colon = scan::space(bytes, at);
    (*bytes.get(colon)? == b':').then_some(colon + 1)
}

/// The short name of a member, without escape sequences, and what follows its colon.
#[inline]
pub(super) fn name(bytes: &[u8], at: usize) -> Option<(Text, usize)> {
    let quote = scan::space(bytes, at);
    if *bytes.get(quote)? != b'"' {
        return None;
    }
    let start = quote + 1;
    let end = start + scan::special_in_next(bytes.get(start..)?)?;
    if *bytes.get(end)? != b'"' {
        return None;
    }
    let text = Text {
        start,
        end,
        escaped: false,
    };
    Some((text, behind_colon(bytes, end + 1)?))
}

/// What follows the string of which `start` is behind the quote.
#[inline]
pub(super) fn string(bytes: &[u8], start: usize, portable: bool) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use super::super::{ErrorKind, Profile, Reader};
    use super::*;

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
            let end = Some(text.len()).filter(|_| is_short);
            assert_eq!(container(&text, 0, u32::MAX, false), end, "{levels}");
            assert_eq!(skipped(&text), Ok(text.len()), "{levels}");
        }
        let deepest = nested(1024);
        assert_eq!(skipped(&deepest), Ok(deepest.len()));
        assert_eq!(skipped(&nested(1025)), Err(ErrorKind::TooDeep));
    }

    #[test]
    fn no_more_levels_are_passed_than_there_may_be() {
        for levels in 1..=5_u32 {
            let text = nested(levels as usize);
            for most in 0..=6 {
                let end = Some(text.len()).filter(|_| levels <= most);
                assert_eq!(container(&text, 0, most, true), end, "{levels} of {most}");
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
            assert_eq!(container(text.as_bytes(), 0, 9, false), None, "{text:?}");
        }
    }

    #[test]
    fn only_what_any_reader_can_hold_is_portable() {
        for text in ["[1e999]", r#"["\ud800"]"#, r#"{"\ud800":1}"#] {
            let end = container(text.as_bytes(), 0, 9, false);
            assert_eq!(end, Some(text.len()), "{text}");
            assert_eq!(container(text.as_bytes(), 0, 9, true), None, "{text}");
        }
    }
}
