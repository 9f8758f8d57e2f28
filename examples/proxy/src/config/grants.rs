//! `[[grants]]`: who may use a server, by which policy.

use std::{collections::HashSet, fmt, ops::Range, sync::Arc};

use serde_json::{Map, Value as Json};
use toml_edit::{Item, Table, TableLike, Value};

use super::{KeptPolicy, is_name, reader::Fields, token::TokenHash};
use crate::names::shown;

/// The fields of a grant.
pub(super) const FIELDS: [&str; 6] = ["claims", "label", "policy", "revoked", "server", "token"];

/// What somebody may use.
#[derive(Clone)]
pub(crate) struct Grant {
    /// Under which name they are known; no other grant has it.
    pub(crate) label: Arc<str>,
    pub(crate) server: String,
    pub(crate) token: TokenHash,
    /// Without it they may do nothing.
    pub(crate) policy: Option<KeptPolicy>,
    pub(crate) claims: Map<String, Json>,
    pub(crate) is_revoked: bool,
}

impl Grant {
    /// Whether somebody with the one has the other, and is the same to a policy.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.label == other.label
            && self.server == other.server
            && self.token == other.token
            && self.is_revoked == other.is_revoked
            && self.claims == other.claims
    }
}

/// Claims may hold what is nobody's business.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("label", &self.label)
            .field("server", &self.server)
            .field("is_revoked", &self.is_revoked)
            .finish_non_exhaustive()
    }
}

/// All grants.
pub(super) fn read(root: &Fields<'_>) -> Vec<Grant> {
    let mut known = Known::default();
    let mut grants = Vec::new();
    let Some(found) = root.item("grants") else {
        return grants;
    };
    let Some(tables) = tables(found.value) else {
        root.wrong("grants", "a list of tables, each begun by [[grants]]");
        return grants;
    };
    for (table, span) in tables {
        let span = span.unwrap_or_else(|| found.span.clone());
        let fields = Fields::new(table, span, "this grant".to_owned(), &FIELDS, root.reading);
        grants.extend(one(&fields, &mut known));
    }
    grants
}

/// A table, and where it stands.
type Placed<'d> = (&'d dyn TableLike, Option<Range<usize>>);

/// The tables of a list, whichever way it is written.
pub(super) fn tables(item: &Item) -> Option<Vec<Placed<'_>>> {
    match item {
        Item::ArrayOfTables(tables) => {
            let tables = tables.iter();
            Some(
                tables
                    .map(|table: &Table| (table as &dyn TableLike, table.span()))
                    .collect(),
            )
        }
        Item::Value(Value::Array(list)) => {
            let tables = list.iter().map(|value| {
                let table = value.as_inline_table()?;
                Some((table as &dyn TableLike, table.span()))
            });
            tables.collect()
        }
        _ => None,
    }
}

/// What no two grants may have.
#[derive(Default)]
struct Known {
    labels: HashSet<String>,
    tokens: HashSet<TokenHash>,
}

fn one(fields: &Fields<'_>, known: &mut Known) -> Option<Grant> {
    let reading = fields.reading;
    let problems = &reading.problems;
    let label = fields.needed("label", "a name by which it is known in records");
    if let Some(label) = &label {
        if !is_name(label.value) {
            let message = format!("`{}` cannot be the label of a grant", shown(label.value));
            problems.advise(&label.span, message, super::NAMES);
        }
        if !known.labels.insert(label.value.to_owned()) {
            let message = format!("another grant has the label `{}`", shown(label.value));
            problems.advise(&label.span, message, "each grant has a label of its own");
        }
    }
    let server = fields.needed("server", "the name of one of the servers");
    if let Some(server) = &server {
        match reading.servers.get(server.value) {
            None => {
                let message = format!("there is no server `{}`", shown(server.value));
                let mut names: Vec<_> = reading.servers.keys().map(|name| shown(name)).collect();
                names.sort();
                let help = format!("there are: {}", names.join(", "));
                problems.advise(&server.span, message, help);
            }
            Some(Some(everybodys)) => {
                let message = format!(
                    "the server `{}` has a grant, and a policy for everybody",
                    server.value
                );
                let help = "remove `policy` of the server: each grant has its own";
                problems.advise(everybodys, message, help);
            }
            Some(None) => {}
        }
    }
    let token = token(fields, known);
    let policy = fields.path("policy").and_then(|path| reading.policy(&path));
    let claims = fields.table("claims").map(|table| {
        let members = table.value.iter();
        let members = members.map(|(name, item)| (name.to_owned(), json(item)));
        members.collect()
    });
    let is_revoked = fields.flag("revoked");
    Some(Grant {
        label: label?.value.into(),
        server: server?.value.to_owned(),
        token: token?,
        policy,
        claims: claims.unwrap_or_default(),
        is_revoked,
    })
}

fn token(fields: &Fields<'_>, known: &mut Known) -> Option<TokenHash> {
    let problems = &fields.reading.problems;
    let help = "`grant add` makes a token, shows it once, and writes its hash here";
    let text = fields.needed("token", help)?;
    match text.value.parse::<TokenHash>() {
        Ok(hash) if known.tokens.insert(hash) => Some(hash),
        Ok(_) => {
            let help = "each grant has a token of its own: see `grant rotate`";
            problems.advise(&text.span, "another grant has this token", help);
            None
        }
        // What stands there may be a token.
        Err(_) => {
            let message = "`token` has to be `sha256:` and 64 hexadecimal digits";
            problems.advise(&text.span, message, help);
            None
        }
    }
}

/// A claim as conditions of a policy see it.
fn json(item: &Item) -> Json {
    if let Some(value) = item.as_value() {
        return value_as_json(value);
    }
    match (item.as_table_like(), tables(item)) {
        (Some(table), _) => table_as_json(table),
        (None, Some(tables)) => {
            let tables = tables.into_iter().map(|(table, _)| table_as_json(table));
            Json::Array(tables.collect())
        }
        (None, None) => Json::Null,
    }
}

fn table_as_json(table: &dyn TableLike) -> Json {
    let members = table
        .iter()
        .map(|(name, item)| (name.to_owned(), json(item)));
    Json::Object(members.collect())
}

fn value_as_json(value: &Value) -> Json {
    match value {
        Value::String(text) => text.value().as_str().into(),
        Value::Integer(number) => (*number.value()).into(),
        // What JSON has no number for is none.
        Value::Float(number) => (*number.value()).into(),
        Value::Boolean(flag) => (*flag.value()).into(),
        Value::Datetime(time) => time.value().to_string().into(),
        Value::Array(list) => Json::Array(list.iter().map(value_as_json).collect()),
        Value::InlineTable(table) => table_as_json(table),
    }
}

/// The tokens that still stand in a document, each for its server, whatever else is
/// wrong with it.
pub(super) fn standing(root: &dyn TableLike) -> HashSet<(TokenHash, String)> {
    let tables = root.get("grants").and_then(tables).unwrap_or_default();
    let stands = |table: &&dyn TableLike| match table.get("revoked") {
        None => true,
        Some(revoked) => revoked.as_bool() == Some(false),
    };
    let tables = tables.iter().map(|(table, _)| *table).filter(stands);
    let tokens = tables.filter_map(|table| {
        let token = table.get("token")?.as_str()?.parse().ok()?;
        Some((token, table.get("server")?.as_str()?.to_owned()))
    });
    tokens.collect()
}
