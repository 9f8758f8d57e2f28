//! The `grant` command: who may use which server.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde_json::json;

use super::show::{print, print_json, table};
use crate::{
    cli::{GrantAddArgs, GrantCommand, GrantListArgs, GrantOneArgs},
    config::granting::{self, Listed, Made, NewGrant},
    failure::Failure,
    lockdown::{Somebody, change},
    names::shown,
};

pub(crate) fn run(command: &GrantCommand, json: bool) -> Result<ExitCode, Failure> {
    match command {
        GrantCommand::Add(args) => add(args, json),
        GrantCommand::List(args) => list(args, json),
        GrantCommand::Revoke(args) => revoke(args, json),
        GrantCommand::Rotate(args) => rotate(args, json),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn add(args: &GrantAddArgs, json: bool) -> Result<(), Failure> {
    let new = NewGrant {
        label: &args.label,
        server: &args.server,
        policy: args.policy.as_deref(),
        claims: &args.claims,
    };
    tell(&args.label, &granting::add(&args.config, &new)?, json);
    Ok(())
}

fn list(args: &GrantListArgs, json: bool) -> Result<(), Failure> {
    let grants = granting::list(&args.config)?;
    let locks = change::now(&args.config)?;
    let is_locked = |grant: &Listed| {
        let label = grant.label.as_deref();
        let who = Somebody {
            grant: label,
            caller: label.unwrap_or_default(),
        };
        locks.concerns(grant.server.as_deref().unwrap_or_default(), who)
    };
    if json {
        let grants = grants.iter().map(|grant| {
            json!({
                "label": grant.label,
                "server": grant.server,
                "policy": grant.policy,
                "claims": grant.claims,
                "revoked": grant.is_revoked,
                "locked": is_locked(grant),
            })
        });
        print_json(&grants.collect());
        return Ok(());
    }
    let rows: Vec<_> = grants
        .iter()
        .map(|grant| {
            let cell = |text: &Option<String>| shown(text.as_deref().unwrap_or_default());
            let state = match (grant.is_revoked, is_locked(grant)) {
                (true, true) => "revoked, locked",
                (true, false) => "revoked",
                (false, true) => "locked",
                (false, false) => "",
            };
            let claims: Vec<_> = grant.claims.iter().map(|name| shown(name)).collect();
            [
                cell(&grant.label),
                cell(&grant.server),
                cell(&grant.policy),
                claims.join(", "),
                state.to_owned(),
            ]
        })
        .collect();
    print(table(["LABEL", "SERVER", "POLICY", "CLAIMS", "STATE"], &rows).trim_end());
    Ok(())
}

fn revoke(args: &GrantOneArgs, json: bool) -> Result<(), Failure> {
    granting::revoke(&args.config, &args.label)?;
    if json {
        print_json(&json!({ "label": args.label, "revoked": true }));
    } else {
        print(&format!("{}: revoked", shown(&args.label)));
    }
    Ok(())
}

fn rotate(args: &GrantOneArgs, json: bool) -> Result<(), Failure> {
    tell(
        &args.label,
        &granting::rotate(&args.config, &args.label)?,
        json,
    );
    Ok(())
}

/// Shows a token, the only time that anybody sees it.
fn tell(label: &str, made: &Made, json: bool) {
    let Made { server, token } = made;
    if json {
        print_json(&json!({ "label": label, "server": server, "token": token }));
        return;
    }
    print(token);
    let _ = writeln!(
        io::stderr(),
        "This is the token of `{}`, and is not shown again. It is sent to /mcp/{} as \
         `Authorization: Bearer TOKEN`.",
        shown(label),
        shown(server)
    );
}
