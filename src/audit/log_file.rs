//! A file of lines that others may append to, too, and move away.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use super::place::{FileId, id_of};

/// A file that is only appended to, and may be moved away.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    id: FileId,
    /// How long it was left, if it was.
    left: Option<u64>,
}

impl LogFile {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // To look at its last byte. One that may only be written is written.
        let file = options
            .clone()
            .read(true)
            .open(&path)
            .or_else(|_| options.open(&path))?;
        let id = id_of(&file.metadata()?);
        Ok(Self {
            path,
            file,
            id,
            left: None,
        })
    }

    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let found = match self.in_place() {
            Some(found) => found,
            None => {
                *self = Self::open(self.path.clone())?;
                self.file.metadata()?
            }
        };
        // What was torn off, by whomever, stays a line of its own.
        let is_torn = self.is_changed(&found) && self.ends_within_a_line();
        if is_torn {
            self.file.write_all(b"\n")?;
        }
        self.file.write_all(lines)?;
        // If that fails half way, it has another length than it was left with.
        let added = u64::from(is_torn).saturating_add(lines.len() as u64);
        self.left = Some(found.len().saturating_add(added));
        Ok(())
    }

    /// What is known of this file, if the path still leads to it. If that cannot be told, it
    /// has to be opened again. Only on Unix can an open file be moved.
    fn in_place(&self) -> Option<Metadata> {
        let found = match cfg!(unix) {
            true => fs::metadata(&self.path),
            false => self.file.metadata(),
        };
        found.ok().filter(|found| id_of(found) == self.id)
    }

    /// Whether somebody else may have torn off a line of a regular file since it was left.
    fn is_changed(&self, found: &Metadata) -> bool {
        found.is_file() && self.left != Some(found.len())
    }

    /// Whether it ends in the middle of a line, as one does of which a writer was killed. One
    /// that cannot be read is taken for whole.
    fn ends_within_a_line(&mut self) -> bool {
        if self.file.seek(SeekFrom::End(-1)).is_err() {
            return false;
        }
        let mut last = [0];
        self.file.read_exact(&mut last).is_ok() && last != *b"\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_others_have_changed_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut log = LogFile::open(path.clone()).unwrap();
        let is_changed = |log: &LogFile| log.is_changed(&log.in_place().unwrap());
        fs::write(&path, "torn").unwrap();
        for line in ["one\n", "two\n"] {
            assert!(is_changed(&log));
            log.append(line.as_bytes()).unwrap();
            assert!(!is_changed(&log));
            log.append(line.as_bytes()).unwrap();
            assert!(!is_changed(&log));
            let mut other = OpenOptions::new().append(true).open(&path).unwrap();
            other.write_all(b"other").unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "torn\none\none\nother\ntwo\ntwo\nother");
    }
}
