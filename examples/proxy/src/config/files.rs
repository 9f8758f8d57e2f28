//! Whether a file is still the one that was read.
//!
//! It costs one look at what the file system says of it, so that it can be asked
//! with every call: who relies on being told of changes is told some time later.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

/// How long after a change another one could look the same: file systems tell the
/// time in steps.
const STEP: Duration = Duration::from_millis(20);

/// How often a file is waited for that is being written.
const TRIES: u32 = 3;

/// Bytes that a file of settings has at most.
const LONGEST: u64 = 1 << 20;

/// A file as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    path: PathBuf,
    /// `None` if it was not there, or could not be looked at.
    mark: Option<Mark>,
}

/// What tells one version of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    length: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    place: (u64, u64),
    #[cfg(unix)]
    changed: (i64, i64),
    /// Whether it had changed so shortly before that it may have changed again and
    /// look the same.
    is_fresh: bool,
}

impl Seen {
    /// Looks at it now. What is read after this is not older.
    pub(crate) fn now(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            mark: fs::metadata(path).ok().map(|found| Mark::of(&found)),
        }
    }

    /// The same, once nothing has happened to it for so long that what happens next can
    /// be told from it. Takes a moment then; who does not stop writing is not waited for.
    pub(crate) fn settled(path: &Path) -> Self {
        let mut seen = Self::now(path);
        for _ in 0..TRIES {
            if seen.mark.as_ref().is_none_or(|mark| !mark.is_fresh) {
                break;
            }
            thread::sleep(STEP);
            seen = Self::now(path);
        }
        seen
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is certain that nothing has happened to it since.
    pub(crate) fn is_current(&self) -> bool {
        let now = fs::metadata(&self.path).ok();
        match (&self.mark, now.map(|now| Mark::of(&now))) {
            (Some(then), Some(now)) => !then.is_fresh && then.is_of_the_same(&now),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Mark {
    fn is_of_the_same(&self, other: &Self) -> bool {
        #[cfg(unix)]
        let is_there = self.place == other.place && self.changed == other.changed;
        #[cfg(not(unix))]
        let is_there = true;
        is_there && self.length == other.length && self.modified == other.modified
    }

    fn of(found: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt as _;
        let modified = found.modified().ok();
        let now = SystemTime::now();
        let is_fresh = modified.is_some_and(|modified| {
            let apart = now
                .duration_since(modified)
                .unwrap_or_else(|error| error.duration());
            apart < STEP
        });
        Self {
            length: found.len(),
            modified,
            #[cfg(unix)]
            place: (found.dev(), found.ino()),
            #[cfg(unix)]
            changed: (found.ctime(), found.ctime_nsec()),
            is_fresh,
        }
    }
}

/// The text of a file that is not too long; `None` if there is no such file.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(LONGEST.saturating_add(1))
        .read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(Some(text))
}

/// Writes a file in the place of the one that is there, with the same owner and
/// permissions, so that nobody ever reads half of it, and whoever could read it still can.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut new = path.clone().into_os_string();
    new.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(new);
    // Left by somebody who was killed.
    let _ = fs::remove_file(&new);
    let written = (|| {
        let mut file = private(&new, path.exists())?;
        if let Ok(found) = fs::metadata(&path) {
            #[cfg(unix)]
            keep_owner(&file, &found)?;
            file.set_permissions(found.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// A new file, which nobody else reads before it has the permissions of the old one.
fn private(path: &Path, has_old: bool) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if has_old {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

/// Who changes a file for somebody else does not take it from them.
#[cfg(unix)]
fn keep_owner(file: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let new = file.metadata()?;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    fchown(file, Some(old.uid()), Some(old.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_to_a_file_is_seen_at_the_next_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let nothing = Seen::now(&path);
        assert!(nothing.is_current());
        fs::write(&path, "one").unwrap();
        assert!(!nothing.is_current());
        // At once it would not be certain.
        assert!(!Seen::now(&path).is_current());
        let seen = Seen::settled(&path);
        assert!(seen.is_current());
        fs::write(&path, "two").unwrap();
        assert!(!seen.is_current());
        let seen = Seen::settled(&path);
        let new = folder.path().join("b");
        fs::copy(&path, &new).unwrap();
        fs::rename(new, &path).unwrap();
        assert!(!seen.is_current());
        fs::remove_file(&path).unwrap();
        assert!(!seen.is_current());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_written_can_be_read_by_those_who_could_before() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        // Only root can give a file away.
        let is_root = std::os::unix::fs::chown(&path, Some(1234), Some(1235)).is_ok();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        write(&link, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o640);
        if is_root {
            assert_eq!((found.uid(), found.gid()), (1234, 1235));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "x".repeat(1 << 20)).unwrap();
        assert!(read(&path).unwrap().is_some());
        fs::write(&path, "x".repeat((1 << 20) + 1)).unwrap();
        assert!(read(&path).is_err());
        assert!(read(&folder.path().join("b")).unwrap().is_none());
    }
}
