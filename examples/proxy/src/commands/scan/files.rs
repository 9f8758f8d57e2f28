//! What is written, and where the policies are that servers are behind.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use mcp_policy::{Instructions, PolicyDocument};

use super::{
    approved::{Approved, beside},
    inventory::{All, Inventory},
};
use crate::{cli::ScanArgs, config::files::sync_folder, failure::Failure};

/// Characters of the name of a server that become that of a file.
const LONGEST_STEM: usize = 64;

/// The files that belong to the servers.
pub(super) struct Places {
    servers: Vec<Place>,
    /// The folder that is made, if files go into one.
    folder: Option<PathBuf>,
    force: bool,
    pin: bool,
}

struct Place {
    /// The policy that the server is behind.
    policy: Option<PathBuf>,
    /// Where one is to be written.
    write: Option<PathBuf>,
}

impl Places {
    /// Also says, before anybody is asked, whether what is to be written may be.
    pub(super) fn new(args: &ScanArgs, is_alone: bool, names: &[String]) -> Result<Self, Failure> {
        let servers = if is_alone {
            vec![Place {
                policy: args.policy.clone(),
                write: args.write.clone(),
            }]
        } else {
            let in_folder = |folder: &Option<PathBuf>, stem: &str| {
                let folder = folder.as_ref()?;
                Some(folder.join(format!("{stem}.json")))
            };
            let place = |stem: String| Place {
                policy: in_folder(&args.policy, &stem).filter(|path| path.exists()),
                write: in_folder(&args.write, &stem),
            };
            stems(names).into_iter().map(place).collect()
        };
        let places = Self {
            servers,
            folder: args.write.clone().filter(|_| !is_alone),
            force: args.force,
            pin: args.pin,
        };
        let folder = args.policy.as_ref().filter(|_| !is_alone);
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(Failure::usage(format!(
                "`--policy` has to be a folder with a policy for each server: {} is none",
                folder.display()
            )));
        }
        places.may_be_written()?;
        Ok(places)
    }

    fn may_be_written(&self) -> Result<(), Failure> {
        let files = self.servers.iter().filter_map(|place| place.write.as_ref());
        for file in files.flat_map(|policy| [Some(policy.clone()), self.kept(policy)]) {
            let Some(file) = file else { continue };
            if file.is_dir() {
                return Err(Failure::usage(format!(
                    "{} is a folder: name a file in it",
                    file.display()
                )));
            }
            // Also a link that leads nowhere.
            if !self.force && file.symlink_metadata().is_ok() {
                return Err(Failure::usage(format!(
                    "{} is there already: say --force to write over it",
                    file.display()
                )));
            }
        }
        match &self.folder {
            Some(folder) if folder.exists() && !folder.is_dir() => Err(Failure::usage(format!(
                "`--write` has to be a folder for several servers: {} is none",
                folder.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Where definitions are kept, if they are.
    fn kept(&self, policy: &Path) -> Option<PathBuf> {
        self.pin.then(|| beside(policy))
    }

    /// The policies that the servers are behind.
    pub(super) fn approved(&self) -> Result<Vec<Option<Approved>>, Failure> {
        let policies = self.servers.iter().map(|place| place.policy.as_deref());
        policies
            .map(|policy| policy.map(Approved::load).transpose())
            .collect()
    }

    /// Writes what is to be written, and tells the policies that were.
    pub(super) fn write(&self, judged: &All) -> Result<Vec<Option<PathBuf>>, Failure> {
        if let Some(folder) = &self.folder {
            fs::create_dir_all(folder).map_err(|error| {
                Failure::start(format!("cannot make {}: {error}", folder.display()))
            })?;
        }
        let both = self.servers.iter().zip(&judged.servers);
        let written = both.map(|(place, server)| {
            let (Some(path), Ok(inventory)) = (&place.write, server.offered()) else {
                return Ok(None);
            };
            self.write_one(path, inventory, server.approved.as_ref())
                .map_err(Failure::Start)?;
            Ok(Some(path.clone()))
        });
        written.collect()
    }

    fn write_one(
        &self,
        path: &Path,
        inventory: &Inventory,
        approved: Option<&Approved>,
    ) -> Result<(), String> {
        if let Some(kept) = self.kept(path) {
            let text = serde_json::to_string_pretty(&inventory.seen.kept())
                .map_err(|error| error.to_string())?;
            self.put(&kept, &(text + "\n"))?;
        }
        let text = match approved {
            Some(approved) if self.pin => approved
                .text_with(inventory.seen.pins())
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?,
            _ => document(inventory, self.pin).to_json_string() + "\n",
        };
        self.put(path, &text)
    }

    fn put(&self, path: &Path, text: &str) -> Result<(), String> {
        put(path, text, self.force)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

/// The recommended policy, with the pins if they are wanted.
pub(super) fn document(inventory: &Inventory, pin: bool) -> PolicyDocument {
    let mut document = inventory.recommended.clone();
    if pin && inventory.seen.instructions().is_none() {
        // There is nothing to approve, and what comes later nobody has approved.
        document.instructions = Instructions::Strip;
    }
    document.pins = pin.then(|| inventory.seen.pins());
    document
}

/// A file name for each server, different also where upper and lower case are the same.
fn stems(names: &[String]) -> Vec<String> {
    let mut known = HashSet::new();
    let stem = |name: &String| {
        let plain = |c: char| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => c,
            _ => '_',
        };
        let stem: String = name.chars().take(LONGEST_STEM).map(plain).collect();
        let stem = if stem.is_empty() {
            "_".to_owned()
        } else {
            stem
        };
        let mut own = stem.clone();
        let mut number = 2_usize;
        while !known.insert(own.to_ascii_lowercase()) {
            own = format!("{stem}-{number}");
            number = number.saturating_add(1);
        }
        own
    };
    names.iter().map(stem).collect()
}

/// Writes a whole file or nothing: into another one beside it, which then takes its
/// place.
fn put(path: &Path, text: &str, force: bool) -> io::Result<()> {
    // A link stays one; what it leads to is replaced.
    let target = match fs::canonicalize(path) {
        Ok(target) if force => target,
        _ => path.to_owned(),
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut prefix = OsString::from(".");
    prefix.push(target.file_name().unwrap_or_default());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    #[cfg(unix)]
    let permissions = {
        use std::os::unix::fs::PermissionsExt as _;
        // What the umask leaves of it, as with every other new file.
        fs::Permissions::from_mode(0o666)
    };
    #[cfg(unix)]
    builder.permissions(permissions);
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Ok(old) = fs::metadata(&target) {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    if force {
        file.persist(&target)?;
    } else {
        file.persist_noclobber(&target)?;
    }
    sync_folder(&target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_files_of_their_own() {
        let names = ["a", "A", "a-2", "../b", "", "é.pins"].map(str::to_owned);
        let expected = ["a", "A-2", "a-2-2", "___b", "_", "__pins"];
        assert_eq!(stems(&names), expected);
        assert_eq!(stems(&["x".repeat(1_000)])[0].len(), LONGEST_STEM);
    }

    #[test]
    fn a_file_is_written_over_only_when_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        put(&path, "one", false).unwrap();
        assert!(put(&path, "two", false).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        put(&path, "three", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        // Nothing is left beside it, whatever came of it.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_others_may_read_what_they_could() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("b"));
        put(&path, "one", false).unwrap();
        let other = folder.path().join("c");
        fs::write(&other, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        // Not for its owner alone, as temporary files are.
        assert_eq!(mode(&path), mode(&other));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        put(&link, "two", true).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(mode(&path), 0o640);
    }
}
