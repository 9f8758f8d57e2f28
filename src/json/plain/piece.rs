//! Finds where strings close, many at once.

use std::num::NonZeroU64;

use super::super::scan::{self, BLOCK, special_in_block};

/// How many bytes are looked at at once, with what can follow the last of them that counts.
const REACH: usize = BLOCK + 3;

/// A piece of the text, with a bit for each byte that needs attention inside a string and
/// was not passed yet.
///
/// To find all such bytes at once takes little longer than to find the first; then the
/// search for the end of a string need not wait for the end of the one before it.
#[derive(Clone, Copy)]
pub(super) struct Piece<'t> {
    start: usize,
    bytes: &'t [u8; REACH],
    /// All that stand behind the lowest of them are among them.
    special: u64,
}

/// Where a string closes.
#[derive(Clone, Copy)]
pub(super) struct Closing {
    /// Its last quote.
    pub(super) at: usize,
    /// The bytes from there, as far as they are known.
    four: u32,
}

impl Closing {
    #[inline(always)]
    fn new(text: &[u8], at: usize) -> Self {
        let four = text.get(at..).and_then(<[u8]>::first_chunk);
        let four = four.map_or(0, |four| u32::from_le_bytes(*four));
        Self { at, four }
    }

    #[inline(always)]
    fn is_quote(self) -> bool {
        self.four as u8 == b'"'
    }

    /// Whether it is plain to see that this follows upon the quote.
    #[inline(always)]
    pub(super) fn is_followed_by<const N: usize>(self, bytes: &[u8; N]) -> bool {
        let mut four = [b'"', 0, 0, 0];
        let mut mask = [0xff, 0, 0, 0];
        for ((to, masked), from) in four.iter_mut().zip(&mut mask).skip(1).zip(bytes) {
            (*to, *masked) = (*from, 0xff);
        }
        self.four & u32::from_le_bytes(mask) == u32::from_le_bytes(four)
    }
}

impl<'t> Piece<'t> {
    /// Of no text.
    pub(super) const NONE: Piece<'static> = Piece {
        start: 0,
        bytes: &[0; REACH],
        special: 0,
    };

    /// The same, in a place of its own: what is handed over as an argument stays in
    /// memory, and each string would wait for that.
    #[inline(always)]
    pub(super) fn taken(self) -> Self {
        Self { ..self }
    }

    /// Where the string closes that this quote opens.
    #[inline(always)]
    pub(super) fn close(
        &mut self,
        text: &'t [u8],
        quote: usize,
        portable: bool,
    ) -> Option<Closing> {
        let from = match self.first_behind(text, quote) {
            Some(closing) if closing.is_quote() => return Some(closing),
            Some(escape) => escape.at,
            None => quote + 1,
        };
        self.special = 0;
        let at = scan::closing_quote(text, from, portable).ok()?;
        Some(Closing::new(text, at))
    }

    /// The same if the string holds no escape sequence.
    #[inline(always)]
    pub(super) fn close_plain(&mut self, text: &'t [u8], quote: usize) -> Option<Closing> {
        if let Some(first) = self.first_behind(text, quote) {
            return first.is_quote().then_some(first);
        }
        self.special = 0;
        let at = scan::plain_run(text, quote + 1);
        (*text.get(at)? == b'"').then(|| Closing::new(text, at))
    }

    /// The first byte behind the quote that needs attention, if it is near.
    #[inline(always)]
    fn first_behind(&mut self, text: &'t [u8], quote: usize) -> Option<Closing> {
        let special = without_lowest(self.special);
        if special == 0 || self.start + self.special.trailing_zeros() as usize != quote {
            *self = Self::from(text, quote + 1)?;
            return self.first_of(self.special);
        }
        self.first_of(special)
    }

    /// The first of these, which is passed by that.
    #[inline(always)]
    fn first_of(&mut self, special: u64) -> Option<Closing> {
        let length = NonZeroU64::new(special)?.trailing_zeros() as usize % BLOCK;
        self.special = without_lowest(special);
        let four = self.bytes.get(length..)?.first_chunk()?;
        Some(Closing {
            at: self.start + length,
            four: u32::from_le_bytes(*four),
        })
    }

    /// The piece that begins here, or the last one if this is in it.
    #[inline(always)]
    fn from(text: &'t [u8], start: usize) -> Option<Self> {
        if let Some(bytes) = text.get(start..)?.first_chunk() {
            let special = special_in_block(bytes);
            return Some(Self {
                start,
                bytes,
                special,
            });
        }
        let last = text.len().checked_sub(REACH)?;
        let passed = start.checked_sub(last).filter(|passed| *passed < BLOCK)?;
        let bytes = text.last_chunk()?;
        Some(Self {
            start: last,
            bytes,
            special: special_of_last(bytes) & u64::MAX << passed,
        })
    }
}

#[inline(never)]
fn special_of_last(bytes: &[u8; REACH]) -> u64 {
    special_in_block(bytes)
}

#[inline(always)]
fn without_lowest(bits: u64) -> u64 {
    bits & bits.wrapping_sub(1)
}
