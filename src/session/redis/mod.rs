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
use crate::store::StoreAnswer;

/// A [`SessionStore`] on the server of a [`RedisState`](crate::RedisState): several
/// processes in front of one server know each other's sessions and tasks, and they
/// outlive them. Clones are the same store.
///
/// Of one caller it knows 1 000 sessions and as many tasks: those beyond push out what
/// the caller has not used for longest. What is not used for seven days is forgotten.
/// There is no other bound. Ids of sessions are kept as digests only.
#[derive(Clone)]
pub struct RedisSessionStore {
    remote: Arc<Remote>,
    /// What the names of all keys begin with.
    prefix: Arc<str>,
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
    /// What the server has to know.
    pub(crate) fn scripts() -> Vec<&'static Script> {
        vec![&BEGIN, &OWNER, &END]
    }

    pub(crate) fn new(remote: Arc<Remote>, server: &str) -> Self {
        // All is in one place, as sessions push each other out.
        let prefix = format!("mcp-policy:1:{{{}}}:", short_digest(server)).into();
        Self { remote, prefix }
    }

    fn begin(&self, kind: Kind, id: &str, owner: &str, known: Option<&str>) -> StoreAnswer<()> {
        if id.len() > LONGEST_ID {
            return StoreAnswer::known(());
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
    ) -> StoreAnswer<Option<T>> {
        let mut call = OWNER.prepare_invoke();
        call.key(self.key(kind, id)).arg(asking.id());
        let looking = async move |link: crate::remote::Link| {
            let found: Option<(String, Option<String>)> = link.invoke(&call).await?;
            Ok(found.and_then(|(owner, known)| read(owner.into(), known.map(Into::into))))
        };
        self.remote.begin(looking).into_answer()
    }

    fn call(&self, call: ScriptInvocation<'static>) -> StoreAnswer<()> {
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

impl SessionStore for RedisSessionStore {
    fn begin_session(&self, session: &str, owner: SessionOwner) -> StoreAnswer<()> {
        let detail = owner.detail();
        self.begin(Kind::Session, session, owner.caller(), detail.as_deref())
    }

    fn session_owner(&self, session: &str, asking: &Caller) -> StoreAnswer<Option<SessionOwner>> {
        let read = |caller, detail| Some(SessionOwner::from_detail(caller, detail));
        self.owner(Kind::Session, session, asking, read)
    }

    fn end_session(&self, session: &str) -> StoreAnswer<()> {
        let mut call = END.prepare_invoke();
        call.key(self.key(Kind::Session, session));
        self.call(call)
    }

    fn begin_task(&self, task: &str, owner: TaskOwner) -> StoreAnswer<()> {
        self.begin(Kind::Task, task, owner.caller(), Some(owner.tool()))
    }

    fn task_owner(&self, task: &str, asking: &Caller) -> StoreAnswer<Option<TaskOwner>> {
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
