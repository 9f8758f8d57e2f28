//! The `grant` command: who may use which server, in a configuration that is changed
//! without losing its comments.
//!
//! A running proxy looks at the file with every request, so that what this command has
//! done holds from the next call on.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use serde_json::json;
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

use super::show::{print, print_json, shown, table};
use crate::{
    cli::{GrantAddArgs, GrantCommand, GrantListArgs, GrantOneArgs},
    config::{
        Config,
        files::{self, Seen, Turn},
        token::{self, TokenHash},
    },
    failure::Failure,
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
    let mut open = Open::to_change(&args.config)?;
    let mut grants = open.all().into_iter();
    if grants.any(|grant| has_label(grant, &args.label)) {
        return Err(Failure::input(format!(
            "there is a grant with the label `{}` already: `grant rotate` gives it another token",
            shown(&args.label)
        )));
    }
    let (token, hash) = new_token()?;
    let mut grant = Table::new();
    grant.insert("label", value(&args.label));
    grant.insert("server", value(&args.server));
    grant.insert("token", value(hash.to_string()));
    if let Some(policy) = &args.policy {
        grant.insert("policy", value(policy));
    }
    if !args.claims.is_empty() {
        let claims = args.claims.iter().map(|claim| {
            let (name, text) = claim.split_once('=')?;
            (!name.is_empty()).then_some((name, text))
        });
        let claims: Option<InlineTable> = claims.collect();
        let wrong = "each --claim reads like NAME=TEXT";
        grant.insert(
            "claims",
            value(claims.ok_or_else(|| Failure::usage(wrong))?),
        );
    }
    open.push(grant)?;
    // Nothing is written that would not load; what is secret is not looked up for that,
    // because it may be known to the proxy alone.
    Config::read(open.seen.clone(), &open.document.to_string(), false).map_err(Failure::Config)?;
    open.write()?;
    tell(&args.label, &args.server, &token, json);
    Ok(())
}

fn list(args: &GrantListArgs, json: bool) -> Result<(), Failure> {
    let open = Open::new(&args.config)?;
    let grants = open.all();
    let text = |grant: &dyn TableLike, name: &str| {
        let text = grant.get(name).and_then(Item::as_str);
        text.map(str::to_owned)
    };
    if json {
        let grants = grants.iter().map(|grant| {
            json!({
                "label": text(*grant, "label"),
                "server": text(*grant, "server"),
                "policy": text(*grant, "policy"),
                "revoked": is_revoked(*grant),
            })
        });
        print_json(&grants.collect());
        return Ok(());
    }
    let rows: Vec<_> = grants
        .iter()
        .map(|grant| {
            let cell = |name| shown(&text(*grant, name).unwrap_or_default());
            let state = match is_revoked(*grant) {
                true => "revoked",
                false => "",
            };
            [
                cell("label"),
                cell("server"),
                cell("policy"),
                state.to_owned(),
            ]
        })
        .collect();
    print(table(["LABEL", "SERVER", "POLICY", "STATE"], &rows).trim_end());
    Ok(())
}

fn revoke(args: &GrantOneArgs, json: bool) -> Result<(), Failure> {
    let mut open = Open::to_change(&args.config)?;
    let grant = open.named(&args.label)?;
    grant.insert("revoked", value(true));
    open.write()?;
    if json {
        print_json(&json!({ "label": args.label, "revoked": true }));
    } else {
        print(&format!("{}: revoked", shown(&args.label)));
    }
    Ok(())
}

fn rotate(args: &GrantOneArgs, json: bool) -> Result<(), Failure> {
    let mut open = Open::to_change(&args.config)?;
    let grant = open.named(&args.label)?;
    if is_revoked(grant) {
        return Err(Failure::input(format!(
            "the grant `{}` is revoked: `grant add` makes another one",
            shown(&args.label)
        )));
    }
    let server = grant.get("server").and_then(Item::as_str);
    let server = server.unwrap_or_default().to_owned();
    let (token, hash) = new_token()?;
    grant.insert("token", value(hash.to_string()));
    open.write()?;
    tell(&args.label, &server, &token, json);
    Ok(())
}

fn new_token() -> Result<(String, TokenHash), Failure> {
    let token = token::generate()
        .map_err(|error| Failure::start(format!("cannot make a token: {error}")))?;
    let hash = TokenHash::of(token.as_bytes());
    Ok((token, hash))
}

/// Shows a token, the only time that anybody sees it.
fn tell(label: &str, server: &str, token: &str, json: bool) {
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

/// What is not said to stand is revoked.
fn is_revoked(grant: &dyn TableLike) -> bool {
    grant
        .get("revoked")
        .is_some_and(|revoked| revoked.as_bool() != Some(false))
}

/// A configuration that is being changed.
struct Open {
    seen: Seen,
    document: DocumentMut,
    /// Until it is written.
    turn: Option<Turn>,
}

impl Open {
    fn to_change(path: &Path) -> Result<Self, Failure> {
        let turn = Turn::at(path).map_err(|error| {
            Failure::start(format!("cannot change {}: {error}", path.display()))
        })?;
        Ok(Self {
            turn: Some(turn),
            ..Self::new(path)?
        })
    }

    fn new(path: &Path) -> Result<Self, Failure> {
        let seen = Seen::settled(path);
        let cannot = |why: &str| Failure::input(format!("{}: {why}", path.display()));
        let text = files::needed(path).map_err(|why| cannot(&why))?;
        match text.parse() {
            Ok(document) => Ok(Self {
                seen,
                document,
                turn: None,
            }),
            // It says where.
            Err(_) => Err(match Config::read(seen, &text, false) {
                Err(error) => Failure::Config(error),
                Ok(_) => cannot("it cannot be changed"),
            }),
        }
    }

    fn all(&self) -> Vec<&dyn TableLike> {
        match self.document.get("grants") {
            Some(Item::ArrayOfTables(tables)) => {
                tables.iter().map(|table| table as &dyn TableLike).collect()
            }
            Some(Item::Value(Value::Array(list))) => {
                let tables = list.iter().filter_map(Value::as_inline_table);
                tables.map(|table| table as &dyn TableLike).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The grant with this label, to be changed.
    fn named(&mut self, label: &str) -> Result<&mut dyn TableLike, Failure> {
        let found: Option<&mut dyn TableLike> = match self.document.get_mut("grants") {
            Some(Item::ArrayOfTables(tables)) => tables
                .iter_mut()
                .map(|table| table as &mut dyn TableLike)
                .find(|grant| has_label(*grant, label)),
            Some(Item::Value(Value::Array(list))) => list
                .iter_mut()
                .filter_map(Value::as_inline_table_mut)
                .map(|table| table as &mut dyn TableLike)
                .find(|grant| has_label(*grant, label)),
            _ => None,
        };
        found.ok_or_else(|| {
            Failure::input(format!(
                "there is no grant with the label `{}`: see `grant list`",
                shown(label)
            ))
        })
    }

    fn push(&mut self, grant: Table) -> Result<(), Failure> {
        let grants = self.document.entry("grants");
        match grants.or_insert(Item::ArrayOfTables(ArrayOfTables::new())) {
            Item::ArrayOfTables(tables) => tables.push(grant),
            Item::Value(Value::Array(list)) => list.push(grant.into_inline_table()),
            _ => return Err(Failure::input("`grants` is no list of tables")),
        }
        Ok(())
    }

    fn write(self) -> Result<(), Failure> {
        let path = self.seen.path();
        if !self.seen.is_current() {
            return Err(Failure::start(format!(
                "{} has just been changed by somebody else, so nothing was written: try again",
                path.display()
            )));
        }
        files::write(path, &self.document.to_string())
            .map_err(|error| Failure::start(format!("cannot write {}: {error}", path.display())))?;
        drop(self.turn);
        Ok(())
    }
}

fn has_label(grant: &dyn TableLike, label: &str) -> bool {
    grant.get("label").and_then(Item::as_str) == Some(label)
}
