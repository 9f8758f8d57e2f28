//! Which file a path leads to.

use std::fs::Metadata;

/// Tells a file from all others, whatever it is called.
#[cfg(unix)]
pub(super) type FileId = (u64, u64);

/// An open file cannot be moved here.
#[cfg(not(unix))]
pub(super) type FileId = ();

#[cfg(unix)]
pub(super) fn id_of(file: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

#[cfg(not(unix))]
pub(super) fn id_of(_: &Metadata) -> FileId {}

/// Which file the path leads to.
#[cfg(feature = "sqlite")]
pub(super) fn file_id(path: &std::path::Path) -> std::io::Result<FileId> {
    match cfg!(unix) {
        true => std::fs::metadata(path).map(|file| id_of(&file)),
        false => Ok(FileId::default()),
    }
}
