//! The `lockdown` command: everything is refused, or some of it, from the next call on.

use std::{path::PathBuf, process::ExitCode};

use toml_edit::{DocumentMut, Item};

use super::show::{print, print_json, shown};
use crate::{
    cli::{LockdownArgs, LockdownCommand},
    config::{
        self,
        files::{self, Turn},
    },
    failure::Failure,
    fleet::lockdown::{self, Locks, Unknown},
};

pub(crate) fn run(command: &LockdownCommand, json: bool) -> Result<ExitCode, Failure> {
    let (args, is_on) = match command {
        LockdownCommand::On(args) => (args, true),
        LockdownCommand::Off(args) => (args, false),
    };
    let (path, document) = file(args)?;
    if is_on {
        names_something(args, document.as_ref())?;
    }
    // Who cannot wait for others can still stop everything.
    let _turn = Turn::at(&path).ok();
    let locks = match (&args.server, &args.grant, &args.caller) {
        // Whatever is in the file.
        (None, None, None) => Locks {
            everything: is_on,
            ..match is_on {
                true => Locks::read(&path).unwrap_or_default(),
                false => Locks::default(),
            }
        },
        (server, grant, caller) => {
            let mut locks = Locks::read(&path).map_err(|Unknown(why)| {
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
            change(&mut locks.servers, server.as_deref(), is_on);
            change(&mut locks.grants, grant.as_deref(), is_on);
            change(&mut locks.callers, caller.as_deref(), is_on);
            locks
        }
    };
    lockdown::write(&path, &locks)
        .map_err(|error| Failure::start(format!("cannot write {}: {error}", path.display())))?;
    if json {
        print_json(&locks.to_json());
    } else {
        print(&said(&locks));
    }
    Ok(ExitCode::SUCCESS)
}

fn change(names: &mut std::collections::BTreeSet<String>, name: Option<&str>, is_on: bool) {
    if let Some(name) = name {
        match is_on {
            true => names.insert(name.to_owned()),
            false => names.remove(name),
        };
    }
}

fn said(locks: &Locks) -> String {
    if locks.everything {
        return "locked down: everything".to_owned();
    }
    let servers = locks.servers.iter().map(|name| format!("server {name}"));
    let grants = locks.grants.iter().map(|name| format!("grant {name}"));
    let callers = locks.callers.iter().map(|name| format!("caller {name}"));
    let all = servers.chain(grants).chain(callers);
    let all: Vec<_> = all.map(|one| shown(&one)).collect();
    match all.is_empty() {
        true => "nothing is locked down".to_owned(),
        false => format!("locked down: {}", all.join(", ")),
    }
}

/// The file of the lockdown, and the configuration if that can be read: whatever else is
/// wrong with it, something may have to be stopped now.
fn file(args: &LockdownArgs) -> Result<(PathBuf, Option<DocumentMut>), Failure> {
    let path = &args.config;
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
fn names_something(args: &LockdownArgs, document: Option<&DocumentMut>) -> Result<(), Failure> {
    let Some(document) = document else {
        return Ok(());
    };
    if let Some(server) = &args.server {
        let servers = document.get("servers").and_then(Item::as_table_like);
        if !servers.is_some_and(|servers| servers.contains_key(server)) {
            return Err(Failure::input(format!(
                "there is no server `{}`",
                shown(server)
            )));
        }
    }
    if let Some(label) = &args.grant
        && !config::has_grant(document.as_table(), label)
    {
        return Err(Failure::input(format!(
            "there is no grant `{}`",
            shown(label)
        )));
    }
    Ok(())
}
