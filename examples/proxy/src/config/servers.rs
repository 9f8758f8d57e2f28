//! `[servers.NAME]`: what is guarded.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use http::{HeaderMap, HeaderName};
use toml_edit::{Item, TableLike};

use super::{
    Issued, KeptPolicy, Reading, is_name, issued,
    reader::{Fields, Spanned},
    value::secret,
};
use crate::{names::shown, secret::Secret, upstream::Target};

/// The fields of a server.
pub(super) const FIELDS: [&str; 7] = [
    "command",
    "env",
    "headers",
    "jwt",
    "policy",
    "show_stderr",
    "url",
];

/// A server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) behind: Behind,
    /// Everybody's, without grants, who may use it.
    pub(crate) policy: Option<KeptPolicy>,
    /// What everybody has to show, if anything.
    pub(crate) issued: Option<Issued>,
}

impl Server {
    /// Whether nobody has to prove who they are.
    pub(crate) fn is_for_everybody(&self) -> bool {
        self.policy.is_some() && self.issued.is_none()
    }
}

/// What is behind the policy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Behind {
    /// A server that speaks streamable HTTP.
    Upstream(Target),
    /// A command that speaks stdio.
    Command(Command),
}

/// A command and what it is given.
#[derive(Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) command: Vec<OsString>,
    /// Besides the proxy's own environment.
    pub(crate) environment: Vec<(String, Secret)>,
    pub(crate) shows_stderr: bool,
}

// Not derived, because arguments of servers tend to hold credentials.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("command", &self.command.first())
            .finish_non_exhaustive()
    }
}

/// All servers, by their names.
pub(super) fn read(root: &Fields<'_>) -> BTreeMap<String, Server> {
    let reading = root.reading;
    let table = root.table("servers");
    if !root.has("servers") || table.as_ref().is_some_and(|table| table.value.is_empty()) {
        let help = "add a table such as [servers.files], with `url` or `command`";
        let place = root.place("servers");
        reading
            .problems
            .advise(&place, "there are no servers", help);
    }
    let Some(table) = table else {
        return BTreeMap::new();
    };
    let mut servers = BTreeMap::new();
    for (name, item) in table.value.iter() {
        let key = table.value.key(name).and_then(|key| key.span());
        let key = key.unwrap_or_else(|| table.span.clone());
        if !is_name(name) {
            let message = format!("`{}` cannot be the name of a server", shown(name));
            reading.problems.advise(&key, message, super::NAMES);
        }
        let Some(fields) = item.as_table_like() else {
            let message = format!("`servers.{name}` has to be a table");
            let help = "write its settings below `[servers.NAME]`";
            reading.problems.advise(&key, message, help);
            continue;
        };
        if let Some(server) = one(name, fields, key, reading) {
            servers.insert(name.to_owned(), server);
        }
    }
    servers
}

fn one(name: &str, table: &dyn TableLike, key: Range<usize>, reading: &Reading) -> Option<Server> {
    let what = format!("the server `{}`", shown(name));
    let fields = Fields::new(table, key.clone(), what.clone(), &FIELDS, reading);
    let policy = fields.path("policy").and_then(|path| reading.policy(&path));
    let behind = match (fields.has("url"), fields.has("command")) {
        (true, false) => {
            beside(&fields, "url", &["env", "show_stderr"]);
            upstream(&fields).map(Behind::Upstream)
        }
        (false, true) => {
            beside(&fields, "command", &["headers"]);
            command(&fields).map(Behind::Command)
        }
        (both, _) => {
            let message = match both {
                true => format!("{what} has both `url` and `command`"),
                false => format!("{what} has neither `url` nor `command`"),
            };
            let help = "a server that speaks HTTP has `url`, one that speaks stdio `command`";
            reading.problems.advise(&key, message, help);
            None
        }
    };
    let issued = fields
        .table("jwt")
        .map(|table| issued::read(name, &fields, &table));
    Some(Server {
        behind: behind?,
        policy,
        issued: match issued {
            None => None,
            Some(read) => Some(read?),
        },
    })
}

/// Says which fields make no sense beside another.
fn beside(fields: &Fields<'_>, one: &str, others: &[&str]) {
    for other in others {
        if fields.has(other) {
            let message = format!("`{other}` means nothing beside `{one}`");
            let problems = &fields.reading.problems;
            problems.advise(&fields.place(other), message, "remove one of them");
        }
    }
}

fn upstream(fields: &Fields<'_>) -> Option<Target> {
    let problems = &fields.reading.problems;
    let url = fields.secret("url");
    let headers = fields.table("headers").map(|table| headers(fields, &table));
    let url = url?;
    match Target::with(url.value.expose(), headers.unwrap_or_default()) {
        Ok(target) => Some(target),
        Err(what) => {
            problems.say(&url.span, format!("`url` {what}"));
            None
        }
    }
}

fn headers(fields: &Fields<'_>, table: &Spanned<&dyn TableLike>) -> HeaderMap {
    let mut all = HeaderMap::new();
    for (name, value) in members(fields, table) {
        let span = value.span.clone();
        let Some(secret) = secret(fields.reading, &shown(name), &value) else {
            continue;
        };
        match crate::upstream::header(name, secret.expose()) {
            Ok((name, _)) if all.contains_key(&name) => {
                let message = format!("the header `{name}` is there twice");
                let help = "leave one out: upper and lower case are the same";
                fields.reading.problems.advise(&span, message, help);
            }
            Ok((name, value)) => {
                let name: HeaderName = name;
                all.insert(name, value);
            }
            Err(what) => fields.reading.problems.say(&span, what),
        }
    }
    all
}

/// The fields of a table with names of its own.
fn members<'d>(
    fields: &Fields<'d>,
    table: &Spanned<&'d dyn TableLike>,
) -> Vec<(&'d str, Spanned<&'d Item>)> {
    let known: Vec<&str> = table.value.iter().map(|(name, _)| name).collect();
    let what = "this table".to_owned();
    let inner = Fields::new(
        table.value,
        table.span.clone(),
        what,
        &known,
        fields.reading,
    );
    known
        .iter()
        .filter_map(|name| Some((*name, inner.item(name)?)))
        .collect()
}

fn command(fields: &Fields<'_>) -> Option<Command> {
    let words = fields.texts("command");
    let problems = &fields.reading.problems;
    let place = fields.place("command");
    let nul = |text: &str| text.contains('\0');
    let (program, arguments) = match words.split_first() {
        Some((program, arguments)) if !program.value.is_empty() => (program, arguments),
        _ => {
            let help = "such as [\"npx\", \"-y\", \"some-mcp-server\"]";
            problems.advise(&place, "`command` names no program", help);
            return None;
        }
    };
    if words.iter().any(|word| nul(word.value)) {
        problems.say(&place, "`command` holds a NUL character");
        return None;
    }
    let program = located(program.value, &fields.reading.base).into_os_string();
    let arguments = arguments.iter().map(|word| OsString::from(word.value));
    let command = std::iter::once(program).chain(arguments).collect();
    let mut environment = Vec::new();
    if let Some(table) = fields.table("env") {
        for (name, value) in members(fields, &table) {
            if name.is_empty() || name.contains(['=', '\0']) {
                let message = format!("`{}` cannot be the name of a variable", shown(name));
                let help = "it has a name, without `=` and NUL";
                problems.advise(&value.span, message, help);
                continue;
            }
            match secret(fields.reading, &shown(name), &value) {
                Some(secret) if nul(secret.expose()) => {
                    problems.say(&value.span, format!("`{name}` holds a NUL character"));
                }
                Some(secret) => environment.push((name.to_owned(), secret)),
                None => {}
            }
        }
    }
    Some(Command {
        command,
        environment,
        shows_stderr: fields.flag("show_stderr"),
    })
}

/// A program that is named by a path, and not looked for, is beside the document.
fn located(program: &str, base: &Path) -> PathBuf {
    match Path::new(program).components().count() > 1 {
        true => base.join(program),
        false => program.into(),
    }
}
