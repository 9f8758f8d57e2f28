use std::ops::Range;

use crate::json::{Edit, Reader};

/// The longest time, in milliseconds, for which a client may keep a list that
/// was cut for it: a change of policy shows after at most this long.
const LONGEST_TTL_MS: u64 = 60_000;

/// How long and for whom a result may be kept.
#[derive(Default)]
pub(super) struct Caching {
    pub(super) scope: Option<Range<usize>>,
    pub(super) ttl: Option<Range<usize>>,
}

impl Caching {
    /// A list that was cut for one caller must not be shown to another, nor
    /// kept for long.
    pub(super) fn restrict(self, reader: &Reader<'_>) -> impl Iterator<Item = Edit> + use<> {
        let is_private = |scope: &Range<usize>| reader.raw(scope) == b"\"private\"";
        let is_short = |ttl: &Range<usize>| {
            let token = std::str::from_utf8(reader.raw(ttl)).ok();
            let milliseconds = token.and_then(|token| token.parse::<u64>().ok());
            milliseconds.is_some_and(|milliseconds| milliseconds <= LONGEST_TTL_MS)
        };
        let scope = self.scope.filter(|scope| !is_private(scope));
        let scope = scope.map(|scope| Edit::replace(scope, b"\"private\""));
        let ttl = self.ttl.filter(|ttl| !is_short(ttl));
        scope
            .into_iter()
            .chain(ttl.map(|ttl| Edit::replace(ttl, b"60000")))
    }
}
