use std::fmt;

use serde::Serialize;

/// What a condition is found to be.
///
/// Undecidable never helps the caller: it fails a `require`, fires a `deny_if`
/// and asks in `require_approval`. There is nothing else that it can be. See
/// [the page on policies](crate::docs::policy#conditions).
///
/// ```
/// use mcp_policy::Truth;
///
/// assert_eq!(Truth::True.and(Truth::Undecidable), Truth::Undecidable);
/// assert_eq!(Truth::False.and(Truth::Undecidable), Truth::False);
/// assert_eq!(Truth::False.or(Truth::Undecidable), Truth::Undecidable);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Two readers could differ about it, or it makes no sense of what was
    /// found.
    Undecidable,
}

impl Truth {
    /// Whether both hold: false if one is false, else undecidable if one is
    /// undecidable, else true.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::Undecidable, _) | (_, Self::Undecidable) => Self::Undecidable,
            (Self::True, Self::True) => Self::True,
        }
    }

    /// Whether one holds: true if one is true, else undecidable if one is
    /// undecidable, else false.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::Undecidable, _) | (_, Self::Undecidable) => Self::Undecidable,
            (Self::False, Self::False) => Self::False,
        }
    }

    /// The opposite; what is undecidable stays so.
    pub(super) const fn negated(self, negated: bool) -> Self {
        match (self, negated) {
            (Self::True, true) => Self::False,
            (Self::False, true) => Self::True,
            _ => self,
        }
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::True => "true",
            Self::False => "false",
            Self::Undecidable => "undecidable",
        })
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

#[cfg(test)]
mod tests {
    use super::Truth::{False, True, Undecidable};

    #[test]
    fn lists_combine_as_the_page_says() {
        for (one, other, and, or) in [
            (True, True, True, True),
            (True, False, False, True),
            (True, Undecidable, Undecidable, True),
            (False, False, False, False),
            (False, Undecidable, False, Undecidable),
            (Undecidable, Undecidable, Undecidable, Undecidable),
        ] {
            assert_eq!((one.and(other), other.and(one)), (and, and));
            assert_eq!((one.or(other), other.or(one)), (or, or));
        }
    }

    #[test]
    fn the_opposite_of_undecidable_is_undecidable() {
        assert_eq!(True.negated(true), False);
        assert_eq!(False.negated(true), True);
        assert_eq!(Undecidable.negated(true), Undecidable);
        assert_eq!(True.negated(false), True);
    }
}
