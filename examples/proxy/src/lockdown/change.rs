//! Locks something down, or ends that, from the next call on.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use toml_edit::{DocumentMut, Item, TableLike};

use super::{Locks, Unknown, write};
use crate::{
    config::{
        self,
        files::{self, Turn},
    },
    failure::Failure,
    names::shown,
};

/// So many servers are named to somebody who names none of them.
const MOST_NAMED: usize = 20;

/// What is locked, or is not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Everything,
    /// The server of this name.
    Server(String),
    /// Whoever has the grant with this label.
    Grant(String),
    /// Whoever is called so.
    Caller(String),
}

/// Changes it in the file that belongs to a configuration, and says what is locked then.
/// Blocks.
pub(crate) fn change(config: &Path, what: &What, is_on: bool) -> Result<Locks, Failure> {
    let (path, document) = file(config)?;
    if is_on {
        names_something(what, document.as_ref())?;
    }
    change_at(&path, what, is_on, Turn::at(&path))
}

/// What the file that belongs to a configuration locks: everything, if nobody knows. Blocks.
pub(crate) fn now(config: &Path) -> Result<Locks, Failure> {
    let (path, _) = file(config)?;
    Ok(Locks::read(&path).unwrap_or(Locks {
        everything: true,
        ..Locks::default()
    }))
}

/// The same in this file. Without its turn only what stops everything goes on: anything else
/// could undo what somebody locks at the same time.
fn change_at(
    path: &Path,
    what: &What,
    is_on: bool,
    turn: io::Result<Turn>,
) -> Result<Locks, Failure> {
    let cannot = |error| Failure::start(format!("cannot write {}: {error}", path.display()));
    let _turn = match turn {
        Ok(turn) => Some(turn),
        Err(_) if is_on && *what == What::Everything => None,
        Err(error) => return Err(cannot(error)),
    };
    let locks = match what {
        // Whatever is in the file.
        What::Everything => Locks {
            everything: is_on,
            ..match is_on {
                true => Locks::read(path).unwrap_or_default(),
                false => Locks::default(),
            }
        },
        What::Server(name) => put(path, |locks| &mut locks.servers, name, is_on)?,
        What::Grant(label) => put(path, |locks| &mut locks.grants, label, is_on)?,
        What::Caller(name) => put(path, |locks| &mut locks.callers, name, is_on)?,
    };
    write(path, &locks).map_err(cannot)?;
    Ok(locks)
}

/// What the file locks, with this name put to those that are locked or taken from them.
fn put(
    path: &Path,
    names: fn(&mut Locks) -> &mut BTreeSet<String>,
    name: &str,
    is_on: bool,
) -> Result<Locks, Failure> {
    let mut locks = Locks::read(path).map_err(|Unknown(why)| {
        Failure::input(format!(
            "{}: {why}, so everything is locked down: `lockdown off` ends that",
            path.display()
        ))
    })?;
    if !is_on && locks.everything {
        return Err(Failure::input(
            "everything is locked down, and `lockdown off` alone ends that",
        ));
    }
    match is_on {
        true => names(&mut locks).insert(name.to_owned()),
        false => names(&mut locks).remove(name),
    };
    Ok(locks)
}

/// The file of the lockdown, and the configuration if that can be read: whatever else is
/// wrong with it, something may have to be stopped now.
fn file(path: &Path) -> Result<(PathBuf, Option<DocumentMut>), Failure> {
    let cannot = |why: &str| Failure::input(format!("{}: {why}", path.display()));
    let text = files::needed(path).map_err(|why| cannot(&why))?;
    match text.parse::<DocumentMut>() {
        Ok(document) => {
            let file = config::lockdown_of(path, document.as_table());
            Ok((file, Some(document)))
        }
        Err(_) if !text.contains("lockdown") => Ok((config::usual_lockdown(path), None)),
        Err(_) => Err(cannot(
            "it is no TOML, so nobody knows which file its `lockdown` names: make an empty file \
             of that name, which locks everything",
        )),
    }
}

/// What is to be locked is there.
fn names_something(what: &What, document: Option<&DocumentMut>) -> Result<(), Failure> {
    let Some(document) = document else {
        return Ok(());
    };
    let missing = match what {
        What::Everything => None,
        // Who an issuer knows is not known here, but nobody is called nothing.
        What::Caller(name) => name
            .is_empty()
            .then(|| "nobody is called nothing: give the name of the caller".to_owned()),
        What::Server(name) => {
            let servers = document.get("servers").and_then(Item::as_table_like);
            let is_there = servers.is_some_and(|servers| servers.contains_key(name));
            (!is_there).then(|| {
                let all = servers.into_iter().flat_map(TableLike::iter);
                let all: Vec<_> = all.take(MOST_NAMED).map(|(name, _)| shown(name)).collect();
                let there = match all.is_empty() {
                    true => "none".to_owned(),
                    false => all.join(", "),
                };
                format!("there is no server `{}`: there is {there}", shown(name))
            })
        }
        What::Grant(label) => (!config::has_grant(document.as_table(), label)).then(|| {
            format!(
                "there is no grant with the label `{}`: see `grant list`",
                shown(label)
            )
        }),
    };
    missing.map_or(Ok(()), |why| Err(Failure::input(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> What {
        What::Caller("alice".to_owned())
    }

    #[test]
    fn without_its_turn_only_what_stops_everything_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lockdown.toml");
        let change = |what: &What, is_on| {
            let taken = io::Error::other("somebody else is changing something");
            change_at(&path, what, is_on, Err(taken))
        };
        let is_refused = |what: &What, is_on| match change(what, is_on) {
            Err(Failure::Start(why)) => why.contains("somebody else is changing something"),
            _ => false,
        };
        assert!(is_refused(&alice(), true) && !path.exists());
        let locks = change_at(&path, &alice(), true, Turn::at(&path)).unwrap();
        assert!(is_refused(&alice(), false) && is_refused(&What::Everything, false));
        assert_eq!(Locks::read(&path), Ok(locks.clone()));
        let everything = Locks {
            everything: true,
            ..locks
        };
        assert_eq!(change(&What::Everything, true).unwrap(), everything);
        assert_eq!(Locks::read(&path), Ok(everything));
    }
}
