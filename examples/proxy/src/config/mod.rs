//! `gateway.toml`: which servers the proxy guards, and for whom.
//!
//! Everything that is wrong with it is said at once, by [`reader`]; [`servers`] and
//! [`grants`] are its tables, [`issued`] what tokens of an issuer have to be, [`value`] what
//! may stand elsewhere because it is secret, [`token`] what is kept of the tokens of grants,
//! [`granting`] how grants are changed, and [`files`] whether what was read is still there.

pub(crate) mod files;
pub(crate) mod granting;
mod grants;
mod issued;
mod problems;
mod reader;
#[cfg(test)]
mod schema;
mod servers;
pub(crate) mod token;
mod value;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    fs,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use mcp_policy::{LoadError, Policy};
use toml_edit::{Document, Item};

use self::{
    files::Seen,
    reader::{Fields, Problems, Spanned},
    token::TokenHash,
};
pub(crate) use self::{
    grants::Grant,
    issued::Issued,
    problems::Unloadable,
    servers::{Behind, Command, Server},
};
use crate::{
    access::Access, audit::Place, diagnostics::Report, listening::DEFAULT_LISTEN,
    public::PublicUrl, secret::Secret, state::State,
};

/// What a document can say.
const FIELDS: [&str; 17] = [
    "$schema",
    "admin",
    "allow_unauthenticated",
    "allowed_hosts",
    "allowed_origins",
    "audit",
    "audit_keep",
    "grants",
    "key_file",
    "limits",
    "listen",
    "lockdown",
    "metrics",
    "public_url",
    "servers",
    "state",
    "webhook",
];

/// What `[limits]` can say.
const LIMITS: [&str; 6] = [
    "approval_wait",
    "max_body_size",
    "max_response_size",
    "request_budget",
    "response_budget",
    "sessions_per_minute",
];

/// How names of servers and labels of grants read.
const NAMES: &str = "use 1 to 64 letters, digits, `-`, `_` and `.`, a letter or digit first";

/// Whether this can be the name of a server, which is part of a path, or the label of
/// a grant, which is the name of a caller.
pub(crate) fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 64
        && text.bytes().all(is_plain)
        && text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
}

/// A document that makes sense.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// Whether servers for everybody may be used from other machines.
    may_be_exposed: bool,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) access: Access,
    /// Whether any name besides loopback names is known.
    pub(crate) names_hosts: bool,
    /// `None` if something else has to say it.
    pub(crate) state: Option<State>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) audit: Option<Place>,
    /// Days.
    pub(crate) audit_keep: Option<u32>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) webhook: Option<Secret>,
    pub(crate) lockdown: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) servers: BTreeMap<String, Server>,
    pub(crate) grants: Vec<Grant>,
    /// Variables of the environment that are nobody's but the proxy's.
    pub(crate) hidden: Vec<String>,
    /// Everything that it was read from, the document first.
    pub(crate) files: Vec<Seen>,
}

/// Sizes and times; what is not said is as the library has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_body_size: Option<usize>,
    pub(crate) max_response_size: Option<usize>,
    pub(crate) request_budget: Option<usize>,
    pub(crate) response_budget: Option<usize>,
    pub(crate) sessions_per_minute: Option<u32>,
    pub(crate) approval_wait: Option<Duration>,
}

/// A policy, and where it is from.
#[derive(Clone, Debug)]
pub(crate) struct KeptPolicy {
    pub(crate) path: PathBuf,
    pub(crate) policy: Policy,
}

impl Config {
    /// Reads a document, and everything that it names. Blocks.
    pub(crate) fn load(path: &Path) -> Result<Self, Box<Unloadable>> {
        let seen = Seen::settled(path);
        match files::needed(path) {
            Ok(text) => Self::read(seen, &text, true),
            Err(why) => Err(Unloadable::unreadable(seen, &why)),
        }
    }

    /// What is wrong with listening on this address.
    pub(crate) fn exposed_at(&self, listen: SocketAddr) -> Option<String> {
        if listen.ip().is_loopback() || self.may_be_exposed {
            return None;
        }
        let mut servers = self.servers.iter();
        let (name, _) = servers.find(|(_, server)| server.is_for_everybody())?;
        Some(format!(
            "{listen} can be reached from other machines, and nobody there would have to prove who \
             they are to use the server `{name}`"
        ))
    }

    /// Every policy, once for each file.
    pub(crate) fn policies(&self) -> BTreeMap<&Path, &Policy> {
        let everybodys = self.servers.values().filter_map(|one| one.policy.as_ref());
        let of_grants = self.grants.iter().filter_map(|one| one.policy.as_ref());
        let kept = everybodys.chain(of_grants);
        kept.map(|kept| (&*kept.path, &kept.policy)).collect()
    }

    /// Reads a text that stands in that file, or is to. What is secret is left alone
    /// unless `looks_up`.
    pub(crate) fn read(seen: Seen, text: &str, looks_up: bool) -> Result<Self, Box<Unloadable>> {
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(error) => return Err(Unloadable::no_toml(seen, text, &error)),
        };
        let table = document.as_table();
        let reading = Reading::new(&seen, table, looks_up);
        let config = {
            let what = "this document".to_owned();
            let root = Fields::new(table, 0..0, what, &FIELDS, &reading);
            read(&root, &seen)
        };
        let problems = reading.problems.into_all();
        let mut policies = reading.unloadable.into_inner();
        policies.truncate(reader::MOST);
        if problems.is_empty() {
            return Ok(Self {
                hidden: reading.hidden.into_inner(),
                files: reading.files.into_inner(),
                ..config
            });
        }
        Err(Box::new(Unloadable {
            files: reading.files.into_inner(),
            report: Report {
                path: seen.path().to_owned(),
                shown: reader::covered(text, table),
                shows_lines: true,
                problems,
                policies,
            },
            standing: Some(grants::standing(table)),
            lockdown: lockdown_of(seen.path(), table),
        }))
    }
}

/// A document that is being read.
struct Reading {
    problems: Problems,
    /// Beside which relative paths are.
    base: PathBuf,
    /// Whether secrets are wanted, and not only their places.
    looks_up: bool,
    has_public_url: bool,
    /// Servers, of which some may be wrong, and where it stands that they are for
    /// everybody.
    servers: HashMap<String, Option<Range<usize>>>,
    files: RefCell<Vec<Seen>>,
    hidden: RefCell<Vec<String>>,
    policies: RefCell<HashMap<PathBuf, Option<KeptPolicy>>>,
    unloadable: RefCell<Vec<(PathBuf, LoadError)>>,
}

impl Reading {
    fn new(seen: &Seen, table: &toml_edit::Table, looks_up: bool) -> Self {
        let servers = table.get("servers").and_then(Item::as_table_like);
        let policy = |server: &Item| {
            let policy = server.as_table_like()?.get("policy")?;
            Some(policy.span().unwrap_or(0..0))
        };
        let servers = servers.map(|servers| {
            let servers = servers.iter();
            servers.map(|(name, server)| (name.to_owned(), policy(server)))
        });
        let base = seen.path().parent().unwrap_or(Path::new(""));
        Self {
            problems: Problems::default(),
            base: base.to_owned(),
            looks_up,
            has_public_url: table.contains_key("public_url"),
            servers: servers.map(Iterator::collect).unwrap_or_default(),
            files: RefCell::new(vec![seen.clone()]),
            hidden: RefCell::default(),
            policies: RefCell::default(),
            unloadable: RefCell::default(),
        }
    }

    /// Remembers a file as it is before it is read.
    fn looked_at(&self, path: &Path) {
        self.files.borrow_mut().push(Seen::settled(path));
    }

    /// Keeps a variable from the servers that are started.
    fn hide(&self, variable: &str) {
        self.hidden.borrow_mut().push(variable.to_owned());
    }

    /// The policy in a file. Each file is read once.
    fn policy(&self, path: &Spanned<PathBuf>) -> Option<KeptPolicy> {
        let known = self.policies.borrow().get(&path.value).cloned();
        let is_known = known.is_some();
        let kept = known.unwrap_or_else(|| {
            self.looked_at(&path.value);
            // A pipe would keep whoever opens it until somebody writes.
            if fs::metadata(&path.value).is_ok_and(|found| !found.is_file()) {
                let message = format!("{} is no file", path.value.display());
                self.problems.say(&path.span, message);
                return None;
            }
            match Policy::from_path(&path.value) {
                Ok(policy) => Some(KeptPolicy {
                    path: path.value.clone(),
                    policy,
                }),
                Err(error) => {
                    let unloadable = (path.value.clone(), error);
                    self.unloadable.borrow_mut().push(unloadable);
                    None
                }
            }
        });
        if !is_known {
            let new = (path.value.clone(), kept.clone());
            self.policies.borrow_mut().insert(new.0, new.1);
        }
        if kept.is_none() {
            let message = format!("the policy {} does not load", path.value.display());
            let help = "what is wrong with it is said below";
            self.problems.advise(&path.span, message, help);
        }
        kept
    }
}

/// What can be read of a document; all problems are said.
fn read(root: &Fields<'_>, seen: &Seen) -> Config {
    let problems = &root.reading.problems;
    let address = "an address and a port, such as \"127.0.0.1:8787\"";
    let listen = root.parsed("listen", address);
    let listen_span = root.place("listen");
    let listen: SocketAddr = listen.map_or(DEFAULT_LISTEN, |listen| listen.value);
    let admin = root.parsed("admin", address).map(|admin| admin.value);
    let public_url = root.text("public_url").and_then(|text| {
        let read = PublicUrl::parse(text.value);
        read.map_err(|what| problems.say(&text.span, format!("`public_url` {what}")))
            .ok()
    });
    let mut hosts = entries(
        root,
        "allowed_hosts",
        Access::is_host,
        "a host name or HOST:PORT",
    );
    let origins = entries(
        root,
        "allowed_origins",
        Access::is_origin,
        "an origin such as https://app.example.com, without a path",
    );
    hosts.extend(public_url.as_ref().map(|url| url.authority().to_owned()));
    let access = Access::with(listen, &hosts, &origins, false);
    let config = Config {
        listen,
        may_be_exposed: root.flag("allow_unauthenticated"),
        admin,
        access: access.unwrap_or_else(|_| Access::new(listen)),
        names_hosts: !hosts.is_empty(),
        public_url,
        state: state(root),
        key_file: root.path("key_file").map(|path| path.value),
        audit: audit(root),
        audit_keep: audit_keep(root),
        metrics: root.parsed("metrics", address).map(|metrics| metrics.value),
        webhook: root.secret("webhook").map(|webhook| webhook.value),
        lockdown: root
            .path("lockdown")
            .map_or_else(|| usual_lockdown(seen.path()), |path| path.value),
        limits: limits(root),
        servers: servers::read(root),
        grants: grants::read(root),
        hidden: Vec::new(),
        files: Vec::new(),
    };
    if let Some(message) = config.exposed_at(listen) {
        let help = "give it grants instead of a `policy`, listen on a loopback address, or say \
                    `allow_unauthenticated = true` if something in front authenticates callers";
        problems.advise(&listen_span, message, help);
    }
    config
}

/// The entries of a list, those left out that are not what they have to be.
fn entries(
    root: &Fields<'_>,
    name: &str,
    is_right: impl Fn(&str) -> bool,
    wanted: &str,
) -> Vec<String> {
    let mut right = Vec::new();
    for text in root.texts(name) {
        if is_right(text.value) {
            right.push(text.value.to_owned());
        } else {
            let message = format!("each of `{name}` has to be {wanted}");
            root.reading.problems.say(&text.span, message);
        }
    }
    right
}

/// A file as `--audit` names it, beside the document.
fn audit(root: &Fields<'_>) -> Option<Place> {
    let text = root.text("audit")?;
    let place = Place::from(OsString::from(text.value));
    if place.path().as_os_str().is_empty() {
        root.wrong("audit", "the path of a file, or `sqlite:` and that");
        return None;
    }
    Some(place.beside(&root.reading.base))
}

/// The days for which records are kept.
fn audit_keep(root: &Fields<'_>) -> Option<u32> {
    let days = root.number("audit_keep", 1..36_501)?;
    let is_kept = root
        .text("audit")
        .is_some_and(|text| text.value.starts_with("sqlite:"));
    if !is_kept {
        let message = "`audit_keep` means nothing without `audit = \"sqlite:…\"`";
        let problems = &root.reading.problems;
        let help = "a file of lines can be rotated instead";
        problems.advise(&root.place("audit_keep"), message, help);
    }
    u32::try_from(days).ok()
}

fn state(root: &Fields<'_>) -> Option<State> {
    let text = root.secret("state")?;
    match State::parse(&text.value) {
        Ok(State::File(path)) => Some(State::File(root.reading.base.join(path))),
        Ok(state) => Some(state),
        // What stands there may be a password.
        Err(_) => {
            let message = "`state` has to be `memory`, `sqlite:PATH`, or the URL of a Redis server";
            let help = "a URL with a password is better put elsewhere, with { env = \"NAME\" }";
            root.reading.problems.advise(&text.span, message, help);
            None
        }
    }
}

fn limits(root: &Fields<'_>) -> Limits {
    let Some(table) = root.table("limits") else {
        return Limits::default();
    };
    let what = "`limits`".to_owned();
    let fields = Fields::new(table.value, table.span, what, &LIMITS, root.reading);
    let bytes = |name| {
        let number = fields.number(name, 1_024..(1 << 40) + 1)?;
        usize::try_from(number).ok()
    };
    Limits {
        max_body_size: bytes("max_body_size"),
        max_response_size: bytes("max_response_size"),
        request_budget: bytes("request_budget"),
        response_budget: bytes("response_budget"),
        sessions_per_minute: fields
            .number("sessions_per_minute", 1..1_000_001)
            .and_then(|number| u32::try_from(number).ok()),
        approval_wait: fields
            .number("approval_wait", 0..301)
            .map(Duration::from_secs),
    }
}

/// Where the lockdown of a document is, whatever else is wrong with that.
pub(crate) fn lockdown_of(path: &Path, table: &toml_edit::Table) -> PathBuf {
    let named = table.get("lockdown").and_then(Item::as_str);
    let base = path.parent().unwrap_or(Path::new(""));
    named.map_or_else(|| usual_lockdown(path), |named| base.join(named))
}

/// Where it is if the document says nothing of it, or nobody knows what that says.
pub(crate) fn usual_lockdown(path: &Path) -> PathBuf {
    path.with_extension("lockdown")
}

/// Whether a document has a grant with this label, whatever else is wrong with it.
pub(crate) fn has_grant(table: &toml_edit::Table, label: &str) -> bool {
    let grants = table.get("grants").and_then(grants::tables);
    let mut grants = grants.unwrap_or_default().into_iter();
    grants.any(|(grant, _)| grant.get("label").and_then(Item::as_str) == Some(label))
}

/// Tokens that stand, each for its server.
pub(crate) type Standing = HashSet<(TokenHash, String)>;

#[cfg(test)]
mod tests;
