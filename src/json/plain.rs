//! The short way through a text of which nothing counts but the grammar, as in answers.
//!
//! What is out of the ordinary is left to the [`Reader`](super::Reader), which knows what
//! is wrong with it and where, or that nothing is: each function here gives what the
//! reader would, or `None`.

mod piece;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::piece::{Closing, Piece};
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
    value_in(Piece::NONE, bytes, at, bounds).map(|(end, _)| end)
}

/// The same, and the piece of the text where that is.
#[inline(always)]
fn value_in<'t>(
    mut piece: Piece<'t>,
    bytes: &'t [u8],
    at: usize,
    bounds: Bounds,
) -> Option<(usize, Piece<'t>)> {
    match *bytes.get(at)? {
        b'"' => {
            let closing = piece.close(bytes, at, bounds.portable)?;
            Some((closing.at + 1, piece))
        }
        b'{' | b'[' => container(piece, bytes, at, bounds),
        first => Some((scalar(bytes, at, first, bounds.portable)?, piece)),
    }
}

/// The end of the object that begins here. Each member is told of, by the spans of its
/// name, without quotes, and its value; if one is not liked, or a name holds an escape
/// sequence, there is no end.
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
    let mut piece = Piece::NONE;
    loop {
        if byte != b'"' {
            return None;
        }
        let name = piece.close_plain(bytes, at)?;
        let start = behind_name(bytes, name)?;
        let end;
        (end, piece) = value_in(piece, bytes, start, inner)?;
        if !is_liked(at + 1..name.at, start..end) {
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
fn container<'t>(
    piece: Piece<'t>,
    bytes: &'t [u8],
    start: usize,
    bounds: Bounds,
) -> Option<(usize, Piece<'t>)> {
    let mut piece = piece.taken();
    let levels = bounds.levels.min(MOST_LEVELS);
    let portable = bounds.portable;
    // What is open, the innermost in the lowest bit, above a one for the outside.
    let mut open: u64 = 1;
    let mut at = start;
    // Whether a name begins here, and not a value.
    let mut is_name = false;
    'value: loop {
        'ended: {
            if !is_name {
                match *bytes.get(at)? {
                    b'"' => {
                        at = piece.close(bytes, at, portable)?.at + 1;
                        break 'ended;
                    }
                    b'{' => {
                        open = enter(open, OBJECT, levels)?;
                        let byte;
                        (byte, at) = next(bytes, at + 1)?;
                        match byte {
                            b'"' => {}
                            b'}' => break 'ended,
                            _ => return None,
                        }
                    }
                    b'[' => {
                        open = enter(open, ARRAY, levels)?;
                        let byte;
                        (byte, at) = next(bytes, at + 1)?;
                        match byte {
                            b']' => break 'ended,
                            _ => continue 'value,
                        }
                    }
                    first => {
                        at = scalar(bytes, at, first, portable)?;
                        break 'ended;
                    }
                }
            }
            // Most members follow upon each other like this.
            loop {
                let name = piece.close(bytes, at, portable)?;
                if name.is_followed_by(b":\"") {
                    let text = piece.close(bytes, name.at + 2, portable)?;
                    if text.is_followed_by(b",\"") {
                        at = text.at + 2;
                        continue;
                    }
                    at = text.at + 1;
                    break 'ended;
                }
                if name.is_followed_by(b":{\"") {
                    open = enter(open, OBJECT, levels)?;
                    at = name.at + 3;
                    continue;
                }
                at = behind_name(bytes, name)?;
                is_name = false;
                continue 'value;
            }
        }
        // A value has ended, or an empty container is about to.
        loop {
            let byte;
            (byte, at) = next(bytes, at)?;
            at += 1;
            if byte == b',' {
                let first;
                (first, at) = next(bytes, at)?;
                is_name = open & 1 == OBJECT;
                if is_name && first != b'"' {
                    return None;
                }
                continue 'value;
            }
            if byte != closing(open) {
                return None;
            }
            open >>= 1;
            if open == 1 {
                return Some((at, piece));
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

/// Where the value begins of the member whose name ends so.
#[inline(always)]
fn behind_name(bytes: &[u8], name: Closing) -> Option<usize> {
    let (colon, at) = next(bytes, name.at + 1)?;
    if colon != b':' {
        return None;
    }
    next(bytes, at + 1).map(|(_, start)| start)
}

/// The end of a number, or of a word, of which this is the first byte.
#[inline(always)]
fn scalar(bytes: &[u8], at: usize, first: u8, portable: bool) -> Option<usize> {
    match first {
        b'1'..=b'9' => scan::integer(bytes, at).or_else(|| scan::scalar(bytes, at, portable).ok()),
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
