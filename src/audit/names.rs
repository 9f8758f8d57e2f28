use std::fmt;

use smallvec::SmallVec;

use super::record::MOST_KEYS;
use crate::mcp::shown_text;

/// Stands behind each name. It is in none: control characters are shown as escapes.
const END: u8 = b'\n';

/// Names that are recorded, in alphabetical order and in one piece: most calls have
/// several.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Names(Box<str>);

impl Names {
    /// These, as they are shown; at most 64.
    pub(crate) fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut names: SmallVec<[_; 8]> = names.take(MOST_KEYS).map(shown_text).collect();
        names.sort_unstable();
        let length = names.iter().map(|name| name.len().saturating_add(1)).sum();
        let mut text = String::with_capacity(length);
        for name in &names {
            text.push_str(name);
            text.push(char::from(END));
        }
        Self(text.into())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            // They are short, and what searches faster takes longer to begin.
            let length = rest.bytes().position(|byte| byte == END)?;
            let (name, behind) = rest.split_at_checked(length)?;
            rest = behind.get(1..)?;
            Some(name)
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
        let names = Names::new(names.into_iter());
        names.iter().map(str::to_owned).collect()
    }

    #[test]
    fn names_are_bounded_sorted_and_escaped() {
        let many: Vec<String> = (0..100).map(|index| format!("k{index:03}")).collect();
        let keys = names(many.iter().rev().map(String::as_str));
        assert_eq!(keys.len(), MOST_KEYS);
        assert!(keys.is_sorted());
        let odd = names(["a\u{202e}\n", &"x".repeat(200)]);
        assert_eq!(odd[0], "a\\u{202e}\\u{a}");
        assert_eq!(odd[1].chars().count(), 129);
    }

    #[test]
    fn every_name_stays_one() {
        assert!(Names::new(std::iter::empty()).is_empty());
        for some in [
            &[""][..],
            &["", ""],
            &["", "a"],
            &["\n"],
            &["a", "a b", "b,c"],
        ] {
            let kept = names(some.iter().copied());
            assert_eq!(kept.len(), some.len(), "{some:?}");
        }
        assert_eq!(names(["b", "", "a"]), ["", "a", "b"]);
    }
}
