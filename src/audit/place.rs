//! Whether a path still leads to the same file.

use std::fs::Metadata;
use std::io;
use std::path::Path;

/// Tells a file from all others, whatever it is called.
#[cfg(unix)]
pub(super) type FileId = (u64, u64);

/// An open file cannot be moved here.
#[cfg(not(unix))]
pub(super) type FileId = ();

/// Which file the path leads to.
#[cfg(unix)]
pub(super) fn file_id(path: &Path) -> io::Result<FileId> {
    std::fs::metadata(path).map(|file| id_of(&file))
}

#[cfg(not(unix))]
pub(super) fn file_id(_: &Path) -> io::Result<FileId> {
    Ok(())
}

#[cfg(unix)]
pub(super) fn id_of(file: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

#[cfg(not(unix))]
pub(super) fn id_of(_: &Metadata) -> FileId {}
