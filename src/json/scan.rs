//! Finds the ends of what stands in a JSON text and holds no other value. Each function
//! is told where something begins and tells where it ends.
//!
//! Positions go in and out by value, so that they stay in registers.

use wide::u8x16;

use super::error::{Error, ErrorKind};
use super::string::Text;

/// The end of the white space, of which there can be none.
#[inline]
pub(super) fn space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        // Most values follow directly.
        if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            break;
        }
        at += 1;
    }
    at
}

/// The error for a byte that may not stand here, or for the end.
#[cold]
pub(super) fn unexpected(bytes: &[u8], at: usize) -> Error {
    let kind = match bytes.get(at) {
        Some(_) => ErrorKind::UnexpectedByte,
        None => ErrorKind::UnexpectedEnd,
    };
    Error::new(kind, at)
}

/// A string, of which `start` is behind the quote. Lone surrogates are refused if it has
/// to be `portable`.
#[inline]
pub(super) fn string(bytes: &[u8], start: usize, portable: bool) -> Result<Text, Error> {
    // Names are short.
    let plain_end = match bytes.get(start..).and_then(special_in_next) {
        Some(length) => start + length,
        None => plain_run(bytes, start),
    };
    let escaped = bytes.get(plain_end) != Some(&b'"');
    let end = match escaped {
        false => plain_end,
        true => closing_quote(bytes, plain_end, portable)?,
    };
    Ok(Text {
        start,
        end,
        escaped,
    })
}

/// What is looked at of a short string: its quote, sixteen bytes, the quote at its end and
/// one more byte.
const WINDOW: usize = 19;

/// How long the string is that this quote opens, and what stands from its first byte on,
/// if that is plain to see: it holds no escape sequence and at most sixteen bytes. Behind
/// those there is its closing quote and one more byte, which is zero behind the text.
/// `padded` is only a place to put the end of the text in.
#[inline(always)]
pub(super) fn short_string<'b>(
    bytes: &'b [u8],
    quote: usize,
    padded: &'b mut Option<[u8; WINDOW]>,
) -> Option<(usize, &'b [u8; WINDOW - 1])> {
    let rest = bytes.get(quote..)?;
    let window = match rest.first_chunk() {
        Some(window) => window,
        None => padded.insert(with_zeros(rest)),
    };
    let ([opening], inside) = window.split_first_chunk()?;
    let special = special(*inside.first_chunk()?).unsigned_abs() | 1 << 16;
    let length = special.trailing_zeros() as usize;
    let is_string = *opening == b'"' && *inside.get(length)? == b'"';
    Some((length, inside.first_chunk()?)).filter(|_| is_string)
}

#[inline(never)]
fn with_zeros(rest: &[u8]) -> [u8; WINDOW] {
    let mut padded = [0; WINDOW];
    if let Some(place) = padded.get_mut(..rest.len()) {
        place.copy_from_slice(rest);
    }
    padded
}

/// The quote that ends a string, from somewhere in it that is not within an escape
/// sequence.
#[inline(never)]
pub(super) fn closing_quote(bytes: &[u8], mut at: usize, portable: bool) -> Result<usize, Error> {
    // Where there is one escape sequence there are many: all in a block are found at once.
    while let Some((start, block)) = block_with(bytes, at) {
        let mut special = special_in_block(block) & u64::MAX << (at - start);
        at = start + BLOCK;
        while special != 0 {
            let bit = special.trailing_zeros() as usize;
            let end = match is_short_escape(block, bit) {
                true => bit + 2,
                false => match behind_special(bytes, start + bit, portable)? {
                    Some(end) => end - start,
                    None => return Ok(start + bit),
                },
            };
            if end >= BLOCK {
                at = start + end;
                break;
            }
            special &= u64::MAX << end;
        }
    }
    loop {
        at = plain_run(bytes, at);
        at = match behind_special(bytes, at, portable)? {
            Some(end) => end,
            None => return Ok(at),
        };
    }
}

/// The block that begins here, or the last one if this is in it, and where it begins. It
/// is followed by one more byte.
#[inline(always)]
fn block_with(bytes: &[u8], at: usize) -> Option<(usize, &[u8; BLOCK + 1])> {
    let start = at.min(bytes.len().checked_sub(BLOCK + 1)?);
    let block = bytes.get(start..)?.first_chunk()?;
    (at - start < BLOCK).then_some((start, block))
}

/// Whether an escape sequence of two bytes begins here.
#[inline(always)]
fn is_short_escape(block: &[u8; BLOCK + 1], at: usize) -> bool {
    match block.get(at..).and_then(<[u8]>::first_chunk) {
        Some([b'\\', letter]) => STANDS_ALONE.get(usize::from(*letter)) == Some(&true),
        _ => false,
    }
}

/// The bytes that make up a whole escape sequence behind a backslash.
#[allow(
    clippy::indexing_slicing,
    reason = "it is made when the crate is compiled"
)]
const STANDS_ALONE: [bool; 256] = {
    let mut table = [false; 256];
    let mut letters: &[u8] = br#""\/bfnrt"#;
    while let [letter, others @ ..] = letters {
        table[*letter as usize] = true;
        letters = others;
    }
    table
};

/// What follows the escape sequence that begins here; nothing if this is the quote at the
/// end.
fn behind_special(bytes: &[u8], at: usize, portable: bool) -> Result<Option<usize>, Error> {
    match bytes.get(at) {
        Some(b'"') => Ok(None),
        Some(b'\\') => escape(bytes, at, portable).map(Some),
        Some(_) => Err(Error::new(ErrorKind::ControlCharacter, at)),
        None => Err(Error::new(ErrorKind::UnexpectedEnd, at)),
    }
}

/// Where the run of bytes ends that need no attention inside a string: the next quote,
/// backslash or control character, or the end.
pub(super) fn plain_run(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let special = special(*chunk);
        if special != 0 {
            return at + special.trailing_zeros() as usize;
        }
        at += 16;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let plain = |byte: &&u8| !matches!(**byte, b'"' | b'\\' | 0..b' ');
    at.saturating_add(rest.iter().take_while(plain).count())
}

/// Where the first byte stands that needs attention, if it is among the next sixteen, and
/// there are so many.
#[inline]
pub(super) fn special_in_next(rest: &[u8]) -> Option<usize> {
    let special = special(*rest.first_chunk()?);
    (special != 0).then_some(special.trailing_zeros() as usize)
}

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 64;

/// A bit for each byte of a block that needs attention inside a string. What follows the
/// block does not count.
#[inline(always)]
pub(super) fn special_in_block<const N: usize>(block: &[u8; N]) -> u64 {
    let mut bits = 0;
    for (index, sixteen) in block.chunks_exact(16).take(BLOCK / 16).enumerate() {
        let special = sixteen.first_chunk().map_or(0, |sixteen| special(*sixteen));
        bits |= u64::from(special.unsigned_abs()) << (16 * index);
    }
    bits
}

/// A bit for each byte that needs attention inside a string.
#[inline]
pub(super) fn special(chunk: [u8; 16]) -> i32 {
    let chunk = u8x16::new(chunk);
    let is_backslash = chunk.cmp_eq(u8x16::splat(b'\\'));
    // A quote becomes a space, and a control character stays one.
    let turned = chunk ^ u8x16::splat(b'"' ^ b' ');
    let is_low = turned.min(u8x16::splat(b' ')).cmp_eq(turned);
    (is_backslash | is_low).move_mask()
}

/// One escape sequence, or two that make up one character, from the backslash.
#[inline]
pub(super) fn escape(bytes: &[u8], start: usize, portable: bool) -> Result<usize, Error> {
    let at = start + 1;
    match bytes.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 1),
        Some(b'u') => unicode_escape(bytes, start, portable),
        Some(_) => Err(Error::new(ErrorKind::BadEscape, start)),
        None => Err(Error::new(ErrorKind::UnexpectedEnd, at)),
    }
}

/// `\uXXXX`, or two of them for one character.
fn unicode_escape(bytes: &[u8], start: usize, portable: bool) -> Result<usize, Error> {
    let bad = Error::new(ErrorKind::BadEscape, start);
    let mut end = start + 6;
    let unit = code_unit(bytes, start).ok_or(bad)?;
    let lone = match unit {
        0xD800..=0xDBFF => {
            let second = bytes.get(end..).unwrap_or_default();
            if second.starts_with(b"\\u") {
                let unit = code_unit(bytes, end).ok_or(bad)?;
                end += 6;
                !matches!(unit, 0xDC00..=0xDFFF)
            } else {
                true
            }
        }
        0xDC00..=0xDFFF => true,
        _ => false,
    };
    if lone && portable {
        return Err(Error::new(ErrorKind::LoneSurrogate, start));
    }
    Ok(end)
}

/// What `\uXXXX` says.
fn code_unit(bytes: &[u8], start: usize) -> Option<u32> {
    let digits = bytes.get(start + 2..)?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, &digit| {
        Some(unit << 4 | char::from(digit).to_digit(16)?)
    })
}

/// The end of a short integer that begins with this digit, and not with a zero.
#[inline(always)]
pub(super) fn integer(bytes: &[u8], at: usize) -> Option<usize> {
    const LONGEST: usize = 20;
    let digits = bytes.get(at..)?.iter().take(LONGEST);
    let length = digits.take_while(|byte| byte.is_ascii_digit()).count();
    let end = at + length;
    let follows = *bytes.get(end)?;
    let goes_on = follows.is_ascii_digit() || matches!(follows, b'.' | b'e' | b'E');
    (!goes_on).then_some(end)
}

/// A number, `true`, `false` or `null`. Numbers that are infinite as a 64-bit float are
/// refused if it has to be `portable`.
#[inline]
pub(super) fn scalar(bytes: &[u8], at: usize, portable: bool) -> Result<usize, Error> {
    match bytes.get(at) {
        Some(b'-' | b'0'..=b'9') => number(bytes, at, portable),
        Some(b't') => literal(bytes, at, b"true"),
        Some(b'f') => literal(bytes, at, b"false"),
        Some(b'n') => literal(bytes, at, b"null"),
        _ => Err(unexpected(bytes, at)),
    }
}

#[inline]
fn literal<const N: usize>(bytes: &[u8], at: usize, literal: &[u8; N]) -> Result<usize, Error> {
    let written = bytes.get(at..).unwrap_or_default();
    if written.starts_with(literal) {
        return Ok(at + N);
    }
    let same = written.iter().zip(literal).take_while(|(a, b)| a == b);
    Err(unexpected(bytes, at + same.count()))
}

#[inline]
fn number(bytes: &[u8], start: usize, portable: bool) -> Result<usize, Error> {
    let is = |at: usize, byte| bytes.get(at) == Some(&byte);
    let mut at = start;
    if is(at, b'-') {
        at += 1;
    }
    at = match is(at, b'0') {
        true => at + 1,
        false => digits(bytes, at)?,
    };
    if is(at, b'.') {
        at = digits(bytes, at + 1)?;
    }
    let exponent = is(at, b'e') || is(at, b'E');
    if exponent {
        at += 1;
        if is(at, b'+') || is(at, b'-') {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    // 308 digits without an exponent are below the largest float.
    if portable && (exponent || at.saturating_sub(start) > 308) {
        check_finite(bytes, start, at)?;
    }
    Ok(at)
}

#[inline]
fn digits(bytes: &[u8], start: usize) -> Result<usize, Error> {
    let mut at = start;
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    match at == start {
        true => Err(unexpected(bytes, at)),
        false => Ok(at),
    }
}

#[inline(never)]
fn check_finite(bytes: &[u8], start: usize, end: usize) -> Result<(), Error> {
    let token = bytes.get(start..end).unwrap_or_default();
    let number = std::str::from_utf8(token).ok().map(str::parse::<f64>);
    match number {
        Some(Ok(number)) if number.is_finite() => Ok(()),
        _ => Err(Error::new(ErrorKind::NumberOutOfRange, start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_sequence_may_stand_anywhere_in_a_string() {
        for escape in [r#"\""#, r"\\", r"\n", r"\u0022", r"\ud83d\ude00"] {
            for before in 0..140 {
                for after in [0, 1, 30, 40, 64, 90] {
                    let plain = |length| "x".repeat(length);
                    let said = [r"\n", &*plain(before), escape, &*plain(after)].concat();
                    let text = format!("\"{said}\"{}", plain(before % 3 * 40));
                    let found = string(text.as_bytes(), 1, true).unwrap();
                    assert_eq!((found.end, found.escaped), (said.len() + 1, true), "{text}");
                }
            }
        }
        for odd in [r"\x", "\n", r"\ud83d"] {
            for before in 0..140 {
                let text = format!(r#""\n{}{odd}{}""#, "x".repeat(before), "x".repeat(40));
                let error = string(text.as_bytes(), 1, true).unwrap_err();
                assert_eq!(error.offset(), before + 3, "{text}");
            }
        }
    }

    #[test]
    fn a_short_string_is_one_that_any_reader_ends_there() {
        for length in 0..20 {
            for byte in [b'x', b'"', b'\\', b'\n', 0x7f, 0xff] {
                for at in 0..=length {
                    for after in 0..22 {
                        let mut text = vec![b'x'; length + 2 + after];
                        text[at + 1] = byte;
                        (text[0], text[length + 1]) = (b'"', b'"');
                        let mut padded = None;
                        let short = short_string(&text, 0, &mut padded);
                        let any = string(&text, 1, true).ok();
                        let expected = any.filter(|any| !any.escaped && any.len() <= 16);
                        let found = short.map(|(length, from_first)| {
                            let end = (length + 3).min(text.len());
                            assert!(from_first.starts_with(&text[1..end]), "{text:?}");
                            length
                        });
                        assert_eq!(found, expected.map(Text::len), "{text:?}");
                    }
                }
            }
        }
        assert!(short_string(b"x\"", 0, &mut None).is_none());
        assert!(short_string(b"", 0, &mut None).is_none());
        assert!(short_string(b"\"", 1, &mut None).is_none());
    }

    #[test]
    fn a_run_ends_at_the_first_special_byte_wherever_that_stands() {
        for length in 0..70 {
            for byte in 0..=u8::MAX {
                let is_special = matches!(byte, b'"' | b'\\' | 0..b' ');
                for after in [
                    "",
                    "x",
                    "\"xxxxxxxxxxxxxxxxxxxx",
                    "xxxxxxxxxxxxxxxxxxxxxxxx\"",
                ] {
                    let text = [&*vec![b'x'; length], &[byte], after.as_bytes()].concat();
                    let of_after = after.find('"').unwrap_or(after.len());
                    let expected = match is_special {
                        true => length,
                        false => length + 1 + of_after,
                    };
                    assert_eq!(plain_run(&text, 0), expected, "{byte} at {length}");
                    // As when something stood before it.
                    let text = [b"\"\\\n", &*text].concat();
                    assert_eq!(plain_run(&text, 3), expected + 3, "{byte} at {length}");
                }
            }
        }
    }
}
