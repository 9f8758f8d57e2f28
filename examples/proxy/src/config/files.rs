//! Whether a file is still the one that was read.
//!
//! It costs one look at what the file system says of it, so that it can be asked
//! with every call: who relies on being told of changes is told some time later.

use std::{
    collections::HashMap,
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

/// How often it is asked whether somebody else is done.
#[cfg(unix)]
const TURNS: u32 = 500;

/// Bytes that a file of settings has at most.
const LONGEST: u64 = 1 << 20;

/// A file as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    path: PathBuf,
    /// Or why it could not be looked at: something that is not there is another thing than
    /// something that nobody can see.
    mark: Result<Mark, ErrorKind>,
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
            mark: look(path),
        }
    }

    /// The same, once nothing has happened to it for so long that what happens next can
    /// be told from it. Takes a moment then; who does not stop writing is not waited for.
    pub(crate) fn settled(path: &Path) -> Self {
        let mut seen = Self::now(path);
        for _ in 0..TRIES {
            if seen.mark.as_ref().map_or(true, |mark| !mark.is_fresh) {
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
        match (&self.mark, look(&self.path)) {
            (Ok(then), Ok(now)) => !then.is_fresh && then.is_of_the_same(&now),
            (Err(then), Err(now)) => *then == now,
            _ => false,
        }
    }
}

/// Files that were looked at, to be found again however many there are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    all: Vec<Seen>,
    /// Where the first look at each is.
    places: HashMap<PathBuf, usize>,
}

impl Files {
    pub(crate) fn of(all: Vec<Seen>) -> Self {
        let mut places = HashMap::new();
        for (place, seen) in all.iter().enumerate() {
            places.entry(seen.path.clone()).or_insert(place);
        }
        Self { all, places }
    }

    /// The one that names the others.
    pub(crate) fn first(&self) -> Option<&Seen> {
        self.all.first()
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&Seen> {
        self.all.get(*self.places.get(path)?)
    }

    pub(crate) fn are_current(&self) -> bool {
        self.all.iter().all(Seen::is_current)
    }
}

fn look(path: &Path) -> Result<Mark, ErrorKind> {
    match fs::metadata(path) {
        Ok(found) => Ok(Mark::of(&found)),
        Err(error) => Err(error.kind()),
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
        let is_recent = |time: SystemTime| {
            let apart = now
                .duration_since(time)
                .unwrap_or_else(|error| error.duration());
            apart < STEP
        };
        // When it was modified is what whoever has written it says: a copy can be as old as
        // what it is a copy of.
        #[cfg(unix)]
        let is_changed = changed(found).is_some_and(is_recent);
        #[cfg(not(unix))]
        let is_changed = false;
        let is_fresh = is_changed || modified.is_some_and(is_recent);
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

/// When the file system noticed a change, whatever it was told of that.
#[cfg(unix)]
fn changed(found: &Metadata) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt as _;
    let seconds = u64::try_from(found.ctime()).ok()?;
    let rest = u32::try_from(found.ctime_nsec()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, rest))
}

/// The text of a file that is not too long; `None` if there is no such file.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match fs::metadata(path) {
        Ok(found) if found.is_file() => File::open(path),
        // A pipe would keep whoever opens it until somebody writes.
        Ok(_) => return Err(io::Error::other("it is no file")),
        Err(error) => Err(error),
    };
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(LONGEST.saturating_add(1))
        .read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(too_long());
    }
    Ok(Some(text))
}

/// The text of a file that has to be there, or why it is not to be had.
pub(crate) fn needed(path: &Path) -> Result<String, String> {
    let text = read(path).map_err(|error| error.to_string())?;
    text.ok_or_else(|| "there is no such file".to_owned())
}

fn too_long() -> io::Error {
    io::Error::other("it is longer than 1 MiB")
}

/// Held by whoever changes a file by what stands in it, so that nobody else does at the same
/// time and one of them changes nothing.
pub(crate) struct Turn {
    /// Of the folder, which stays when the file is replaced.
    #[cfg(unix)]
    _folder: File,
}

impl Turn {
    /// Waits until nobody else has it, but not for ever.
    #[cfg(unix)]
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        use rustix::fs::{FlockOperation, flock};
        let path = linked(path);
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = File::open(folder.unwrap_or(Path::new(".")))?;
        for _ in 0..TURNS {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _folder: folder }),
                Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(STEP),
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::other(
            "somebody else is changing something beside it: try again",
        ))
    }

    /// Nothing is known here by which they could wait for each other.
    #[cfg(not(unix))]
    pub(crate) fn at(_: &Path) -> io::Result<Self> {
        Ok(Self {})
    }
}

/// Where a link leads, whether something is there or not.
pub(crate) fn linked(path: &Path) -> PathBuf {
    let beside = |target| path.parent().unwrap_or(Path::new("")).join(target);
    fs::canonicalize(path)
        .or_else(|_| fs::read_link(path).map(beside))
        .unwrap_or_else(|_| path.to_owned())
}

/// Writes a file in the place of the one that is there, with the same owner and
/// permissions, so that nobody ever reads half of it, and whoever could read it still can.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    write_like(path, text, path)
}

/// The same with the owner and the permissions of another file.
pub(crate) fn write_like(path: &Path, text: &str, model: &Path) -> io::Result<()> {
    // Else nobody could read it.
    if text.len() as u64 > LONGEST {
        return Err(too_long());
    }
    // A link stays one.
    let path = linked(path);
    let mut new = path.clone().into_os_string();
    new.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(new);
    // Left by somebody who was killed.
    let _ = fs::remove_file(&new);
    let written = (|| {
        let mut file = private(&new, model.exists())?;
        if let Ok(found) = fs::metadata(model) {
            #[cfg(unix)]
            keep_owner(&file, &found)?;
            file.set_permissions(found.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync_folder(&path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Waits until the disk has the name of a file: else the file from before, with what was
/// revoked in it, can be back after a power loss.
#[cfg(unix)]
pub(crate) fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A folder cannot be opened here.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
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

    /// As `cp -p` and `rsync -t` do it, twice at once.
    #[cfg(unix)]
    #[test]
    fn a_file_that_says_to_be_old_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = File::create(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(!Seen::now(&path).is_current());
        assert!(Seen::settled(&path).is_current());
    }

    #[cfg(unix)]
    #[test]
    fn what_nobody_can_look_at_is_not_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let nothing = Seen::now(&path);
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(!nothing.is_current());
        assert!(read(&path).is_err());
        assert!(Seen::now(&path).is_current());
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
        assert!(write(&path, &"x".repeat((1 << 20) + 1)).is_err());
    }
}
