//! Who may use which server, and what is locked down. [`change`] changes it.

mod change;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::body::Body;
use mcp_policy::Caller;
use tokio::task::spawn_blocking;
use tower::BoxError;

use super::super::{
    api::{self, Refusal},
    recent::{Recent, runs_something},
    roles::Power,
};
use super::{
    Page, Pages,
    frame::{Frame, Here},
    sessions::Visitor,
    words::{link, of_policy, short},
};
use crate::{
    config::{
        granting::{self, Listed},
        is_name,
    },
    failure::Failure,
    json_text::{beginning_in_lines, visible},
    lockdown::Locks,
    page,
    running::Now,
};

const PATH: &str = "/grants";
const ADD: &str = "/grants/add";
const ROTATE: &str = "/grants/rotate";
const REVOKE: &str = "/grants/revoke";
const LOCKDOWN: &str = "/grants/lockdown";

/// Grants on a page.
const MOST_SHOWN: usize = 1_000;

#[derive(Template)]
#[template(path = "grants.html")]
struct Grants<'a> {
    frame: Frame<'a>,
    /// The configuration, if there is one.
    config: Option<String>,
    /// What is wrong with what somebody has just sent.
    wrong: Option<String>,
    /// Why what stands there is not used, or cannot be shown.
    trouble: Option<String>,
    locks: Locked,
    rows: Vec<Row>,
    more: usize,
    /// Servers for which there can be grants.
    servers: Vec<Choice>,
    policies: Vec<Choice>,
    typed: Typed,
}

/// What is locked down.
#[derive(Default)]
struct Locked {
    everything: bool,
    servers: Vec<Server>,
    /// Whom issuers call so.
    callers: Vec<String>,
}

/// A server that can be locked.
struct Server {
    name: String,
    is_locked: bool,
}

/// A grant.
struct Row {
    label: String,
    server: String,
    policy: Option<String>,
    policy_link: Option<String>,
    claims: Vec<String>,
    is_revoked: bool,
    is_locked: bool,
    /// Whether it can be changed here.
    can_change: bool,
    calls: Calls,
    log: String,
}

/// What a caller did lately.
#[derive(Clone, Copy, Default)]
struct Calls {
    all: usize,
    refused: usize,
}

struct Choice {
    value: String,
    is_chosen: bool,
}

/// A grant that somebody wants to add, as they have typed it.
#[derive(Clone, Default)]
struct Typed {
    label: String,
    server: String,
    /// One of those that are known.
    policy: String,
    /// Another one.
    file: String,
    claims: String,
}

impl Pages {
    pub(super) async fn grants(&self, visitor: &Visitor, path: &str) -> Result<Page, Refusal> {
        match path {
            PATH => {
                self.list_of_grants(visitor, StatusCode::OK, Typed::default(), None)
                    .await
            }
            ADD | ROTATE | REVOKE | LOCKDOWN => Err(Refusal::wrong_method(Method::POST)),
            _ => Err(api::nothing_here()),
        }
    }

    pub(super) async fn change_grants<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let path = request.uri().path().to_owned();
        if ![ADD, ROTATE, REVOKE, LOCKDOWN].contains(&&*path) {
            return Err(api::nothing_here());
        }
        let (visitor, form) = self.signed_by(Power::Govern, request).await?;
        let Some(config) = self.now().await?.config else {
            let text = "Nothing was done: there is no configuration. `serve --config` has one.";
            return Err(Refusal::new(StatusCode::CONFLICT, text));
        };
        match &*path {
            ADD => self.add_grant(&visitor, config, &form).await,
            ROTATE => self.rotate_grant(&visitor, config, &form).await,
            REVOKE => self.revoke_grant(&visitor, config, &form).await,
            _ => self.lock_down(&visitor, config, &form).await,
        }
    }

    /// All grants, as they stand in the file: what has just been written, too.
    async fn list_of_grants(
        &self,
        visitor: &Visitor,
        status: StatusCode,
        typed: Typed,
        wrong: Option<String>,
    ) -> Result<Page, Refusal> {
        let now = self.now().await?;
        let (listed, unlisted) = match &now.config {
            None => (Vec::new(), None),
            Some(config) => match self.on_a_thread(config, granting::list).await? {
                Ok(listed) => (listed, None),
                Err(failure) => (Vec::new(), Some(said(&failure))),
            },
        };
        let locks = now.lockdown.as_ref().map(|(_, locks)| locks.clone());
        let locks = locks.unwrap_or_default();
        let calls = lately(&self.told.recent);
        let folder = now.config.as_deref().and_then(Path::parent);
        let known = now.policies.iter().map(|policy| &*policy.path).collect();
        let shown = listed.iter().take(MOST_SHOWN);
        let mut rows: Vec<_> = shown
            .map(|listed| Row::of(listed, folder, &known, &locks, &calls))
            .collect();
        rows.sort_by(|one, other| one.label.cmp(&other.label));
        let grants = Grants {
            frame: Frame::new(visitor, Here::Grants),
            config: now.config.as_deref().map(shown_path),
            wrong,
            trouble: now.trouble.as_deref().map(lines).or(unlisted),
            locks: Locked::of(&locks, &now),
            more: listed.len().saturating_sub(rows.len()),
            rows,
            servers: servers(&now, &typed),
            policies: policies(&now, &typed),
            typed,
        };
        Ok(page::html(status, &grants))
    }

    /// Reads or writes the configuration where somebody may wait for it; not too often at
    /// once.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        config: &Path,
        act: impl FnOnce(&Path) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Result<T, Failure>, Refusal> {
        let busy = || {
            let text = "Nothing was done: others are changing the configuration. Try again.";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
        };
        let turn = Arc::clone(&self.changing)
            .try_acquire_owned()
            .map_err(|_| busy())?;
        let config = PathBuf::from(config);
        let acting = spawn_blocking(move || {
            let done = act(&config);
            drop(turn);
            done
        });
        acting.await.map_err(|error| {
            let text = format!("It is not known what was done: {error}.");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)
        })
    }
}

/// Why something cannot be done, without any line of a file.
fn said(failure: &Failure) -> String {
    match failure {
        Failure::Config(unloadable) => lines(&unloadable.sentences().join("\n")),
        other => lines(&other.text()),
    }
}

/// The lines of a text from outside, with nothing in them that could fool a reader.
fn lines(text: &str) -> String {
    beginning_in_lines(text, usize::MAX)
}

fn shown_path(path: &Path) -> String {
    visible(&path.display().to_string())
}

/// How often everybody called lately.
fn lately(recent: &Recent) -> HashMap<String, Calls> {
    let mut all: HashMap<String, Calls> = HashMap::new();
    for message in recent.messages() {
        let decision = &message.decision;
        if let (Some(caller), true) = (decision.caller(), runs_something(decision)) {
            let calls = all.entry(caller.to_owned()).or_default();
            calls.all = calls.all.saturating_add(1);
            let refused = usize::from(!decision.is_allowed());
            calls.refused = calls.refused.saturating_add(refused);
        }
    }
    all
}

impl Typed {
    /// For the template: as much of it as can be seen.
    fn shown(&self, text: &str) -> String {
        visible(text)
    }

    /// For the template: the same of several lines.
    fn lines(&self, text: &str) -> String {
        lines(text)
    }
}

/// Servers that are not for everybody.
fn servers(now: &Now, typed: &Typed) -> Vec<Choice> {
    let uses = now.policies.iter().flat_map(|policy| &policy.uses);
    let for_everybody = uses.filter(|one| one.grant.is_none());
    let for_everybody: HashSet<_> = for_everybody.map(|one| &one.server).collect();
    let names = now.servers.iter().map(|server| &server.name);
    let names = names.filter(|name| !for_everybody.contains(name));
    names
        .map(|name| Choice {
            value: visible(name),
            is_chosen: *name == typed.server,
        })
        .collect()
}

/// The policies that are known, by their paths from the folder of the configuration.
fn policies(now: &Now, typed: &Typed) -> Vec<Choice> {
    let folder = now.config.as_deref().and_then(Path::parent);
    let paths = now.policies.iter().filter_map(|policy| {
        let path = &*policy.path;
        let beside = folder.and_then(|folder| path.strip_prefix(folder).ok());
        // What cannot be shown cannot be chosen.
        beside.unwrap_or(path).to_str()
    });
    let paths = paths.filter(|path| visible(path) == *path);
    paths
        .map(|path| Choice {
            value: path.to_owned(),
            is_chosen: path == typed.policy,
        })
        .collect()
}

impl Locked {
    fn of(locks: &Locks, now: &Now) -> Self {
        let names = now.servers.iter().map(|server| &*server.name);
        // What is not there any more can still be locked.
        let gone = locks.servers.iter().map(|name| &**name);
        let gone = gone.filter(|name| !now.servers.iter().any(|server| server.name == *name));
        let servers = names.chain(gone).map(|name| Server {
            name: visible(name),
            is_locked: locks.servers.contains(name),
        });
        Self {
            everything: locks.everything,
            servers: servers.collect(),
            callers: locks.callers.iter().map(|name| visible(name)).collect(),
        }
    }

    /// For the template: whether nothing is.
    fn is_nothing(&self) -> bool {
        let is_locked = self.servers.iter().any(|server| server.is_locked);
        !self.everything && !is_locked && self.callers.is_empty()
    }
}

impl Row {
    fn of(
        listed: &Listed,
        folder: Option<&Path>,
        policies: &HashSet<&Path>,
        locks: &Locks,
        calls: &HashMap<String, Calls>,
    ) -> Self {
        let label = listed.label.as_deref().unwrap_or_default();
        let server = listed.server.as_deref().unwrap_or_default();
        let caller = Caller::new(label).id().to_owned();
        let path = listed.policy.as_deref();
        let path = path.map(|path| folder.unwrap_or(Path::new("")).join(path));
        let known = path.filter(|path| policies.contains(&**path));
        Self {
            label: short(label),
            server: short(server),
            policy: listed.policy.as_deref().map(short),
            policy_link: known.map(|path| of_policy(&path)),
            claims: listed.claims.iter().map(|name| short(name)).collect(),
            is_revoked: listed.is_revoked,
            is_locked: locks.grants.contains(label),
            can_change: is_name(label),
            calls: calls.get(&caller).copied().unwrap_or_default(),
            log: link("/log", &[("caller", &caller)]),
        }
    }
}
