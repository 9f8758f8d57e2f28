//! The file of a policy, which nobody changes behind the back of somebody else.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use mcp_policy::Policy;

use crate::config::files::{self, Turn, linked};

/// Where the text is kept that was there before the last one that was saved here.
pub(super) fn previous(path: &Path) -> PathBuf {
    let mut path = linked(path).into_os_string();
    path.push(".previous");
    path.into()
}

/// Why nothing was saved.
pub(super) enum NotSaved {
    /// Somebody else has written this in the meantime.
    Other(String),
    Failed(String),
}

/// Writes the text, if the file is still the one with this digest. What it was before is
/// kept beside it.
pub(super) fn save(path: &Path, text: &str, base: &str) -> Result<(), NotSaved> {
    let failed = |what: &str, error: &dyn fmt::Display| {
        NotSaved::Failed(format!("{what}: {error}. Nothing was changed."))
    };
    let _turn = Turn::at(path).map_err(|error| failed("the file cannot be had", &error))?;
    let now = files::needed(path).map_err(|error| failed("the file cannot be read", &error))?;
    if Policy::digest_of(&now) != base {
        return Err(NotSaved::Other(now));
    }
    if now == text {
        return Ok(());
    }
    let previous = previous(path);
    let unkept = "the previous version cannot be kept beside the file";
    let oldest = files::read(&previous).map_err(|error| failed(unkept, &error))?;
    files::write_like(&previous, &now, path).map_err(|error| failed(unkept, &error))?;
    files::write(path, text).map_err(|error| {
        // Else the one before that would be lost for nothing.
        let _ = restore(&previous, oldest.as_deref());
        failed("the file cannot be written", &error)
    })
}

fn restore(path: &Path, text: Option<&str>) -> io::Result<()> {
    match text {
        Some(text) => files::write(path, text),
        None => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn what_was_there_before_is_kept_with_the_permissions_of_the_file() {
        let (_folder, path) = folder("one");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        assert!(save(&path, "two", &Policy::digest_of("one")).is_ok());
        assert!(save(&path, "three", &Policy::digest_of("two")).is_ok());
        // What is the same is no other version.
        assert!(save(&path, "three", &Policy::digest_of("three")).is_ok());
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        let previous = previous(&path);
        assert_eq!(fs::read_to_string(&previous).unwrap(), "two");
        #[cfg(unix)]
        for path in [&path, &previous] {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640);
        }
    }

    #[test]
    fn what_somebody_else_has_written_is_not_overwritten() {
        let (_folder, path) = folder("theirs");
        let refused = save(&path, "mine", &Policy::digest_of("one"));
        assert!(matches!(refused, Err(NotSaved::Other(now)) if now == "theirs"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert!(!previous(&path).exists());
    }

    #[test]
    fn where_nothing_can_be_written_nothing_is_lost() {
        let (_folder, path) = folder("one");
        let before = previous(&path);
        // No file can be moved into the place of a folder.
        fs::create_dir(&before).unwrap();
        let refused = save(&path, "two", &Policy::digest_of("one"));
        assert!(
            matches!(refused, Err(NotSaved::Failed(why)) if why.contains("Nothing was changed"))
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        fs::remove_dir(&before).unwrap();
        fs::write(&before, "zero").unwrap();
        let too_long = "x".repeat((1 << 20) + 1);
        assert!(matches!(
            save(&path, &too_long, &Policy::digest_of("one")),
            Err(NotSaved::Failed(_))
        ));
        assert_eq!(fs::read_to_string(&before).unwrap(), "zero");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_what_was_before_is_beside_what_it_leads_to() {
        let (folder, path) = folder("one");
        let links = tempfile::tempdir().unwrap();
        let link = links.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(save(&link, "two", &Policy::digest_of("one")).is_ok());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        let before = folder.path().join("policy.json.previous");
        assert_eq!(fs::read_to_string(before).unwrap(), "one");
    }
}
