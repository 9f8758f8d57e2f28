//! The lines of a file that may grow, and may be rotated.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek},
    path::{Path, PathBuf},
};

/// The longest line that is read; the records that the proxy writes are shorter.
const LONGEST_LINE: u64 = 1 << 20;

pub(crate) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    /// The one that has come in its place.
    newer: Option<File>,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
    is_too_long: bool,
}

/// A line, without its end.
pub(crate) enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::new(File::open(path)?),
            newer: None,
            begun: Vec::new(),
            is_too_long: false,
        })
    }

    /// The next line that is there as a whole; perhaps there are more later.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let room = LONGEST_LINE.saturating_sub(self.begun.len() as u64);
            let taken = (&mut self.file)
                .take(room)
                .read_until(b'\n', &mut self.begun)?;
            if self.begun.last() == Some(&b'\n') {
                let mut line = std::mem::take(&mut self.begun);
                line.pop();
                return Ok(Some(match std::mem::take(&mut self.is_too_long) {
                    true => Line::TooLong,
                    false => Line::Whole(line),
                }));
            }
            if self.begun.len() as u64 >= LONGEST_LINE {
                self.is_too_long = true;
                self.begun.clear();
            } else if taken == 0 {
                return Ok(None);
            }
        }
    }

    /// What stands behind the last whole line.
    pub(crate) fn rest(&self) -> Option<&[u8]> {
        (!self.begun.is_empty() || self.is_too_long).then_some(&self.begun)
    }

    /// Goes on with the file that is at the path now, if it is another one or was cut
    /// off, and tells whether there may be more to read.
    pub(crate) fn follow(&mut self) -> io::Result<bool> {
        if let Some(newer) = self.newer.take() {
            self.go_on_with(newer);
            return Ok(true);
        }
        let position = self.file.stream_position()?;
        let (new, old) = (File::open(&self.path), self.file.get_ref().metadata()?);
        // Between a rotation and the next record there is none.
        let Ok(new) = new else {
            return Ok(false);
        };
        if !is_same(&new.metadata()?, &old) {
            // Something may have been appended to the old one before the new one came.
            self.newer = Some(new);
            return Ok(true);
        }
        if old.len() >= position {
            return Ok(false);
        }
        self.go_on_with(new);
        Ok(true)
    }

    fn go_on_with(&mut self, file: File) {
        self.file = BufReader::new(file);
        self.begun.clear();
        self.is_too_long = false;
    }
}

#[cfg(unix)]
fn is_same(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// An open file cannot be moved here.
#[cfg(not(unix))]
fn is_same(_: &std::fs::Metadata, _: &std::fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn next(lines: &mut Lines) -> Option<Option<String>> {
        Some(match lines.next().unwrap()? {
            Line::Whole(line) => Some(String::from_utf8(line).unwrap()),
            Line::TooLong => None,
        })
    }

    fn some(line: &str) -> Option<Option<String>> {
        Some(Some(line.to_owned()))
    }

    #[test]
    fn a_long_line_is_skipped_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let long = "x".repeat((LONGEST_LINE as usize) * 2 + 5);
        std::fs::write(&path, format!("a\n{long}\n\nb")).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        assert_eq!(next(&mut lines), some("a"));
        assert_eq!(next(&mut lines), Some(None));
        assert_eq!(next(&mut lines), some(""));
        assert_eq!(next(&mut lines), None);
        assert_eq!(lines.rest(), Some(&b"b"[..]));
    }

    #[test]
    fn what_is_appended_and_what_comes_after_a_rotation_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut file = File::create(&path).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        file.write_all(b"on").unwrap();
        assert_eq!(next(&mut lines), None);
        file.write_all(b"e\n").unwrap();
        assert_eq!(next(&mut lines), some("one"));
        assert!(!lines.follow().unwrap());
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        assert!(!lines.follow().unwrap());
        file.write_all(b"last\n").unwrap();
        std::fs::write(&path, "two\n").unwrap();
        assert!(lines.follow().unwrap());
        assert_eq!(
            next(&mut lines),
            some("last"),
            "it came before the rotation"
        );
        assert_eq!(next(&mut lines), None);
        assert!(lines.follow().unwrap());
        assert_eq!(next(&mut lines), some("two"));
        std::fs::write(&path, "3\n").unwrap();
        assert!(lines.follow().unwrap());
        assert_eq!(next(&mut lines), some("3"));
    }
}
