use std::ops::Range;

/// A span of the original that is replaced by other bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) span: Range<usize>,
    pub(crate) replacement: &'static [u8],
}

impl Edit {
    /// Leaves the span out.
    pub(crate) const fn cut(span: Range<usize>) -> Self {
        Self {
            span,
            replacement: b"",
        }
    }

    /// Puts `replacement` in the place of the span.
    pub(crate) const fn replace(span: Range<usize>, replacement: &'static [u8]) -> Self {
        Self { span, replacement }
    }
}

/// The original with every edit applied; every other byte stays as it is.
///
/// The edits must be in ascending order and must not overlap. `None` if they
/// are not, or reach past the end.
pub(crate) fn splice(original: &[u8], edits: &[Edit]) -> Option<Vec<u8>> {
    let mut spliced = Vec::with_capacity(original.len());
    let mut kept_from = 0;
    for edit in edits {
        spliced.extend_from_slice(original.get(kept_from..edit.span.start)?);
        spliced.extend_from_slice(edit.replacement);
        kept_from = edit.span.end;
    }
    spliced.extend_from_slice(original.get(kept_from..)?);
    Some(spliced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_other_byte() {
        let edits = [Edit::cut(1..2), Edit::replace(3..5, b"xyz")];
        assert_eq!(splice(b"abcdef", &edits).unwrap(), b"acxyzf");
        assert_eq!(splice(b"abc", &[]).unwrap(), b"abc");
    }

    #[test]
    fn edits_that_overlap_or_reach_out_are_refused() {
        assert_eq!(splice(b"abcdef", &[Edit::cut(2..4), Edit::cut(3..5)]), None);
        assert_eq!(splice(b"abc", &[Edit::cut(2..9)]), None);
    }
}
