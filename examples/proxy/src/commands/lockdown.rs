//! The `lockdown` command: everything is refused, or some of it, from the next call on.

use std::process::ExitCode;

use super::show::{print, print_json};
use crate::{
    cli::{LockdownArgs, LockdownCommand},
    failure::Failure,
    lockdown::{
        Locks,
        change::{What, change},
    },
    names::shown,
};

pub(crate) fn run(command: &LockdownCommand, json: bool) -> Result<ExitCode, Failure> {
    let (args, is_on) = match command {
        LockdownCommand::On(args) => (args, true),
        LockdownCommand::Off(args) => (args, false),
    };
    let locks = change(&args.config, &what(args), is_on)?;
    if json {
        print_json(&locks.to_json());
    } else {
        print(&said(&locks));
    }
    Ok(ExitCode::SUCCESS)
}

/// The command line has one of them at most.
fn what(args: &LockdownArgs) -> What {
    match (&args.server, &args.grant, &args.caller) {
        (Some(server), ..) => What::Server(server.clone()),
        (None, Some(grant), _) => What::Grant(grant.clone()),
        (None, None, Some(caller)) => What::Caller(caller.clone()),
        (None, None, None) => What::Everything,
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
