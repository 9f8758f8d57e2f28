use std::ops::Range;

use crate::json::Edit;

/// Cuts members out of an object, or items out of an array, each with the comma
/// that it had.
#[derive(Debug, Default)]
pub(super) struct Members {
    end_of_last: Option<usize>,
    kept_before: bool,
    /// Where one begins that goes and has none that stays before it.
    cut_from: Option<usize>,
}

impl Members {
    /// The next one, and whether it stays. What is to be cut, as far as that is
    /// known.
    pub(super) fn next(&mut self, span: Range<usize>, stays: bool) -> Option<Edit> {
        let before = self.cut_from.take();
        let cut = before.map(|from| from..span.start);
        let end_of_last = self.end_of_last.replace(span.end);
        if stays {
            self.kept_before = true;
            return cut.map(Edit::cut);
        }
        match end_of_last {
            Some(end_of_last) if self.kept_before => Some(Edit::cut(end_of_last..span.end)),
            _ => {
                self.cut_from = Some(before.unwrap_or(span.start));
                None
            }
        }
    }

    /// What is still to be cut after the last one.
    pub(super) fn end(self) -> Option<Edit> {
        Some(Edit::cut(self.cut_from?..self.end_of_last?))
    }
}
