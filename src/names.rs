//! Words that stand for the values of an enum, in records, documents and filters.

use std::fmt;

/// A text is none of the words that there are for something.
///
/// ```
/// use mcp_policy::{ApprovalState, Verdict};
///
/// assert_eq!("denied".parse(), Ok(Verdict::Denied));
/// let error = "Denied".parse::<ApprovalState>().unwrap_err();
/// assert_eq!(error.to_string(), "this is no state of a request for approval");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameError {
    /// What has other names.
    pub(crate) of: &'static str,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is no {}", self.of)
    }
}

impl std::error::Error for NameError {}

/// Has an enum displayed as its `as_str`, and read from that and nothing else. It has to
/// have `ALL`.
macro_rules! named {
    ($type:ty, $of:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        /// Reads what `as_str` gives, and nothing else.
        impl std::str::FromStr for $type {
            type Err = $crate::names::NameError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                let mut all = Self::ALL.into_iter();
                let found = all.find(|known| known.as_str() == name);
                found.ok_or($crate::names::NameError { of: $of })
            }
        }
    };
}

pub(crate) use named;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::{Debug, Display};
    use std::str::FromStr;

    use super::NameError;
    use crate::approval::ApprovalState;
    use crate::audit::{Ending, MessageKind, Verdict};
    use crate::risk::RiskCategory;

    fn check<T>(all: &[T], name: impl Fn(T) -> &'static str)
    where
        T: Copy + Debug + Display + PartialEq + FromStr<Err = NameError>,
    {
        for one in all.iter().copied() {
            assert_eq!(name(one).parse(), Ok(one));
            assert_eq!(one.to_string(), name(one));
            assert_eq!(format!("{one:>12}").len(), 12);
        }
        let names: BTreeSet<_> = all.iter().copied().map(name).collect();
        assert_eq!(names.len(), all.len());
        assert!("".parse::<T>().is_err());
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        check(&ApprovalState::ALL, ApprovalState::as_str);
        check(&Ending::ALL, Ending::as_str);
        check(&MessageKind::ALL, MessageKind::as_str);
        check(&Verdict::ALL, Verdict::as_str);
        check(&RiskCategory::ALL, RiskCategory::as_str);
    }
}
