//! Who may use which server, changed in a configuration without losing its comments.
//!
//! A running proxy looks at the file with every request, so that what is done here holds
//! from the next call on. Everything here blocks.

use std::path::Path;

use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

use super::{
    Config,
    files::{self, Seen, Turn},
    token::{self, TokenHash},
};
use crate::{failure::Failure, names::shown};

/// A grant that there is to be.
pub(crate) struct NewGrant<'a> {
    pub(crate) label: &'a str,
    pub(crate) server: &'a str,
    /// As a path from the folder of the configuration; without it every call is refused.
    pub(crate) policy: Option<&'a str>,
    /// Each reads like `NAME=TEXT`.
    pub(crate) claims: &'a [String],
}

/// A token, which is to be shown once.
pub(crate) struct Made {
    pub(crate) server: String,
    pub(crate) token: String,
}

/// A grant as it stands in a configuration, whatever is wrong with that.
pub(crate) struct Listed {
    pub(crate) label: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) policy: Option<String>,
    /// The names of its claims.
    pub(crate) claims: Vec<String>,
    pub(crate) is_revoked: bool,
}

/// Adds a grant, and gives its token.
pub(crate) fn add(config: &Path, new: &NewGrant<'_>) -> Result<Made, Failure> {
    let mut open = Open::to_change(config)?;
    let mut grants = open.all().into_iter();
    if grants.any(|grant| has_label(grant, new.label)) {
        return Err(Failure::input(format!(
            "there is a grant with the label `{}` already: `grant rotate` gives it another token",
            shown(new.label)
        )));
    }
    let (token, hash) = new_token()?;
    let mut grant = Table::new();
    grant.insert("label", value(new.label));
    grant.insert("server", value(new.server));
    grant.insert("token", value(hash.to_string()));
    if let Some(policy) = new.policy {
        grant.insert("policy", value(policy));
    }
    if !new.claims.is_empty() {
        let claims = new.claims.iter().map(|claim| {
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
    Config::read(open.seen.clone(), &open.document.to_string(), false)?;
    open.write()?;
    let server = new.server.to_owned();
    Ok(Made { server, token })
}

/// Every grant, in the order of the document.
pub(crate) fn list(config: &Path) -> Result<Vec<Listed>, Failure> {
    let open = Open::new(config)?;
    let listed = |grant: &&dyn TableLike| {
        let text = |name| grant.get(name).and_then(Item::as_str).map(str::to_owned);
        let claims = grant.get("claims").and_then(Item::as_table_like);
        let claims = claims.into_iter().flat_map(TableLike::iter);
        Listed {
            label: text("label"),
            server: text("server"),
            policy: text("policy"),
            claims: claims.map(|(name, _)| name.to_owned()).collect(),
            is_revoked: is_revoked(*grant),
        }
    };
    Ok(open.all().iter().map(listed).collect())
}

/// Lets the token of a grant be good for nothing any more.
pub(crate) fn revoke(config: &Path, label: &str) -> Result<(), Failure> {
    let mut open = Open::to_change(config)?;
    let grant = open.named(label)?;
    grant.insert("revoked", value(true));
    open.write()
}

/// Gives a grant another token in place of the one that there is.
pub(crate) fn rotate(config: &Path, label: &str) -> Result<Made, Failure> {
    let mut open = Open::to_change(config)?;
    let grant = open.named(label)?;
    if is_revoked(grant) {
        return Err(Failure::input(format!(
            "the grant `{}` is revoked: `grant add` makes another one",
            shown(label)
        )));
    }
    let server = grant.get("server").and_then(Item::as_str);
    let server = server.unwrap_or_default().to_owned();
    let (token, hash) = new_token()?;
    grant.insert("token", value(hash.to_string()));
    open.write()?;
    Ok(Made { server, token })
}

fn new_token() -> Result<(String, TokenHash), Failure> {
    let token = token::generate()
        .map_err(|error| Failure::start(format!("cannot make a token: {error}")))?;
    let hash = TokenHash::of(token.as_bytes());
    Ok((token, hash))
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
                Err(error) => error.into(),
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
            _ => {
                return Err(Failure::input(format!(
                    "{}: `grants` has to be a list: write each grant as `[[grants]]`",
                    self.seen.path().display()
                )));
            }
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
