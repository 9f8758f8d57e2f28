//! Remembers on a Redis server.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, LazyLock};

use redis::{Script, ScriptInvocation};

use super::table::LONGEST_ID;
use super::{SessionOwner, SessionStore, TaskOwner};
use crate::caller::Caller;
use crate::remote::{Remote, short_digest};
use crate::store::{Answer, StoreError};

/// A [`SessionStore`] on a Redis server, from version 7, or a Valkey server: several
/// processes in front of one server know each other's sessions and tasks, and they
/// outlive them.
///
/// Of one caller it knows 1 000 sessions and as many tasks: those beyond push out what
/// the caller has not used for longest. What is not used for seven days is forgotten.
/// There is no other bound; see
/// [`RedisLimitStore`](crate::RedisLimitStore) for what happens on a server that is
/// full, away, or loses something. Ids of sessions are kept as digests only.
///
/// ```no_run
/// use mcp_policy::{Policy, PolicyLayer, RedisSessionStore};
///
/// # fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let sessions = RedisSessionStore::connect("redis://redis.internal/0")?.server_name("files");
/// let layer = PolicyLayer::new(Policy::from_path("policy.json")?).session_store(sessions);
/// # Ok(())
/// # }
/// ```
pub struct RedisSessionStore {
    remote: Remote,
    /// What the names of all keys begin with.
    prefix: String,
}

/// The same in each script: how long something is remembered that is not used, in
/// milliseconds, how much one caller has at most, and the time, in microseconds.
const BEGINNING: &str = "
    local LIFE = 604800000
    local MOST = 1000
    local function clock()
      local time = redis.call('TIME')
      return time[1] * 1000000 + time[2]
    end
";

fn script(end: &str) -> Script {
    Script::new(&[BEGINNING, end].concat())
}

static BEGIN: LazyLock<Script> = LazyLock::new(|| script(include_str!("begin.lua")));
static OWNER: LazyLock<Script> = LazyLock::new(|| script(include_str!("owner.lua")));
static END: LazyLock<Script> = LazyLock::new(|| script(include_str!("end.lua")));

/// What is remembered.
#[derive(Clone, Copy)]
enum Kind {
    Session,
    Task,
}

impl RedisSessionStore {
    /// Begins to connect to the server at this URL; see
    /// [`RedisLimitStore::connect`](crate::RedisLimitStore::connect).
    ///
    /// # Errors
    ///
    /// If this is no such URL, or no thread can be made.
    pub fn connect(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            remote: Remote::open(url, vec![&BEGIN, &OWNER, &END])?,
            prefix: prefix(""),
        })
    }

    /// In front of which server it remembers: layers in front of different servers
    /// have nothing in common then. By default the name is empty.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        self.prefix = prefix(name);
        self
    }

    /// Waits until the server has answered.
    ///
    /// # Errors
    ///
    /// If it cannot be connected to, does not answer within 3 s, or forgets keys when its
    /// memory is full.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.remote.ready().await
    }

    fn begin(&self, kind: Kind, id: &str, owner: &str, known: Option<&str>) -> Answer<()> {
        if id.len() > LONGEST_ID {
            return Answer::known(());
        }
        let mut call = BEGIN.prepare_invoke();
        call.key(self.key(kind, id))
            .key(format!(
                "{}o{}:{}",
                self.prefix,
                kind.letter(),
                short_digest(owner)
            ))
            .arg(self.keys(kind))
            .arg(short_digest(id))
            .arg(owner)
            .arg(known);
        self.call(call)
    }

    /// The owner, and what is known besides.
    fn owner<T: Send + 'static>(
        &self,
        kind: Kind,
        id: &str,
        asking: &Caller,
        read: impl FnOnce(Arc<str>, Option<Arc<str>>) -> Option<T> + Send + 'static,
    ) -> Answer<Option<T>> {
        let mut call = OWNER.prepare_invoke();
        call.key(self.key(kind, id)).arg(asking.id());
        let looking = async move |link: crate::remote::Link| {
            let found: Option<(String, Option<String>)> = link.invoke(&call).await?;
            Ok(found.and_then(|(owner, known)| read(owner.into(), known.map(Into::into))))
        };
        self.remote.begin(looking).into_answer()
    }

    fn call(&self, call: ScriptInvocation<'static>) -> Answer<()> {
        let calling = async move |link: crate::remote::Link| link.invoke(&call).await;
        self.remote.begin(calling).into_answer()
    }

    /// What the names of keys of this kind begin with.
    fn keys(&self, kind: Kind) -> String {
        format!("{}{}:", self.prefix, kind.letter())
    }

    fn key(&self, kind: Kind, id: &str) -> String {
        self.keys(kind) + &short_digest(id)
    }
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Session => 's',
            Self::Task => 't',
        }
    }
}

/// All is in one place, as sessions push each other out.
fn prefix(server: &str) -> String {
    format!("mcp-policy:1:{{{}}}:", short_digest(server))
}

impl SessionStore for RedisSessionStore {
    fn begin_session(&self, session: &str, owner: SessionOwner) -> Answer<()> {
        let detail = owner.detail();
        self.begin(Kind::Session, session, owner.caller(), detail.as_deref())
    }

    fn session_owner(&self, session: &str, asking: &Caller) -> Answer<Option<SessionOwner>> {
        let read = |caller, detail| Some(SessionOwner::from_detail(caller, detail));
        self.owner(Kind::Session, session, asking, read)
    }

    fn end_session(&self, session: &str) -> Answer<()> {
        let mut call = END.prepare_invoke();
        call.key(self.key(Kind::Session, session));
        self.call(call)
    }

    fn begin_task(&self, task: &str, owner: TaskOwner) -> Answer<()> {
        self.begin(Kind::Task, task, owner.caller(), Some(owner.tool()))
    }

    fn task_owner(&self, task: &str, asking: &Caller) -> Answer<Option<TaskOwner>> {
        let read = |caller, tool: Option<Arc<str>>| tool.map(|tool| TaskOwner { caller, tool });
        self.owner(Kind::Task, task, asking, read)
    }
}

/// Session ids are nobody else's business.
impl fmt::Debug for RedisSessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSessionStore").finish_non_exhaustive()
    }
}
