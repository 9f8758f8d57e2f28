//! `path_within`: paths of files, by their text alone. Nothing is looked up, so
//! that links are not known here.

use smallvec::SmallVec;

use super::truth::Truth;

/// A folder that paths are to lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    absolute: bool,
    segments: Vec<Box<str>>,
}

impl Folder {
    /// Nothing if no path could be told to lie in it.
    pub(super) fn new(text: &str) -> Option<Self> {
        let path = Normal::of(text)?;
        Some(Self {
            absolute: path.absolute,
            segments: path.segments.into_iter().map(Into::into).collect(),
        })
    }
}

/// Whether a path lies in one of the folders, or is one of them.
pub(super) fn is_within(path: &str, folders: &[Folder]) -> Truth {
    let Some(path) = Normal::of(path) else {
        return Truth::Undecidable;
    };
    let within = |folder: &Folder| {
        if folder.absolute != path.absolute {
            return Truth::Undecidable;
        }
        let start = path.segments.get(..folder.segments.len());
        Truth::from(start.is_some_and(|start| {
            let mut pairs = start.iter().zip(&folder.segments);
            pairs.all(|(one, other)| **one == **other)
        }))
    };
    folders.iter().map(within).fold(Truth::False, Truth::or)
}

/// A path without `.`, `..` and empty segments.
struct Normal<'p> {
    absolute: bool,
    segments: SmallVec<[&'p str; 16]>,
}

impl<'p> Normal<'p> {
    /// Nothing if two systems could take it for different paths.
    fn of(text: &'p str) -> Option<Self> {
        if text.is_empty() || text.starts_with('~') || text.contains(['\0', '%', '\\']) {
            return None;
        }
        // `C:x` is a path of its own on some systems, and `file:` begins a URI.
        if text
            .split('/')
            .next()
            .is_some_and(|first| first.contains(':'))
        {
            return None;
        }
        let mut segments = SmallVec::new();
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                // Nothing is left to go up from: it would leave the start.
                ".." => drop(segments.pop()?),
                _ => segments.push(segment),
            }
        }
        Some(Self {
            absolute: text.starts_with('/'),
            segments,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_segment_by_segment() {
        use Truth::{False, True, Undecidable};
        for (path, folder, truth) in [
            ("/srv/data/a.txt", "/srv/data", True),
            ("/srv/data", "/srv/data", True),
            ("/srv/data/", "/srv/data", True),
            ("/srv/data", "/srv/data/", True),
            ("//srv///data/./a", "/srv/data", True),
            ("/srv/x/../data/a", "/srv/data", True),
            ("/srv/data/../data/a", "/srv/x/../data", True),
            ("/anything", "/", True),
            ("a/b", "a", True),
            ("./a/b", "a", True),
            ("a/b", ".", True),
            ("/srv/database", "/srv/data", False),
            ("/srv", "/srv/data", False),
            ("/srv/data/../x", "/srv/data", False),
            ("/srv/data/../../etc/passwd", "/srv/data", False),
            ("/SRV/data/a", "/srv/data", False),
            ("b", "a", False),
            ("..a/b", "a", False),
            ("a", "/a", Undecidable),
            ("/a", "a", Undecidable),
            ("C:/a", "/a", Undecidable),
            ("C:/Windows", ".", Undecidable),
            ("c:x", ".", Undecidable),
            ("file:///etc/passwd", ".", Undecidable),
            ("a/b:c", ".", True),
            ("/srv/data/../../../etc", "/srv/data", Undecidable),
            ("../a", "a", Undecidable),
            ("a/../../a", "a", Undecidable),
            ("/..", "/", Undecidable),
            ("/srv/data/%2e%2e/x", "/srv/data", Undecidable),
            ("/srv/data/a%", "/srv/data", Undecidable),
            ("/srv/data\\..\\x", "/srv/data", Undecidable),
            ("/srv/data/a\0b", "/srv/data", Undecidable),
            ("~/a", "a", Undecidable),
            ("~root", ".", Undecidable),
            ("", ".", Undecidable),
            ("a/~", "a", True),
        ] {
            let folders = [Folder::new(folder).unwrap()];
            assert_eq!(is_within(path, &folders), truth, "{path:?} in {folder:?}");
        }
    }

    #[test]
    fn one_folder_of_several_is_enough() {
        let folders = ["/a", "/b", "c"].map(|folder| Folder::new(folder).unwrap());
        assert_eq!(is_within("/b/x", &folders), Truth::True);
        assert_eq!(is_within("c/x", &folders), Truth::True);
        assert_eq!(is_within("/d", &folders), Truth::Undecidable);
        assert_eq!(is_within("/d", &folders[..2]), Truth::False);
    }

    #[test]
    fn folders_that_nothing_can_lie_in_are_refused() {
        for folder in [
            "", "~", "~/a", "/a%20b", "C:\\a", "C:/a", "..", "a/../..", "/a\0",
        ] {
            assert_eq!(Folder::new(folder), None, "{folder:?}");
        }
    }
}
