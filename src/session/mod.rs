//! Which session and which task belongs to whom.
//!
//! Neither a session id nor a task id proves who somebody is, but a server takes
//! whoever names one for its owner. So what was given to one caller does not
//! exist for another.

mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
pub(crate) mod table;

use std::sync::Arc;

use crate::caller::Caller;
use crate::mcp::params::Elicitation;
use crate::store::StoreAnswer;

pub use memory::MemorySessionStore;
#[cfg(feature = "redis")]
pub use redis::RedisSessionStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteSessionStore;

/// Remembers which sessions and tasks the server gave to whom; see
/// [`PolicyLayer::session_store`](crate::PolicyLayer::session_store). The default
/// is [`MemorySessionStore`].
///
/// Of session ids only letters and digits come here, in lower case, because some
/// servers read them as UUIDs, however they are written.
///
/// What a store does not know is read strictly: a task that is not known is
/// refused. A session that is not known is nobody's, and may be another
/// replica's; whatever is counted by session is counted by caller then.
///
/// Layers that share a store have to stand in front of the same server. No
/// method may block, and whatever comes from outside has to be bounded. If one
/// panics or does not answer, the request is refused.
///
/// ```
/// use std::sync::Arc;
/// use mcp_policy::{MemorySessionStore, Policy, PolicyLayer};
///
/// let sessions = Arc::new(MemorySessionStore::default());
/// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
/// // Two endpoints of one server: a session of the one is known to the other.
/// let tools = PolicyLayer::new(policy.clone()).session_store(sessions.clone());
/// let admin = PolicyLayer::new(policy).session_store(sessions);
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
pub trait SessionStore: Send + Sync + 'static {
    /// Remembers that the server began this session for this caller. Whoever
    /// had it first keeps it.
    fn begin_session(&self, session: &str, owner: SessionOwner) -> StoreAnswer<()>;

    /// Whose session this is; `None` if it is not known. If it is the owner who
    /// is asking, that counts as a use.
    fn session_owner(&self, session: &str, asking: &Caller) -> StoreAnswer<Option<SessionOwner>>;

    /// Forgets a session that has ended.
    fn end_session(&self, session: &str) -> StoreAnswer<()>;

    /// Remembers that the server made this task out of a call of a tool.
    /// Whoever had it first keeps it.
    fn begin_task(&self, task: &str, owner: TaskOwner) -> StoreAnswer<()>;

    /// Whose task this is; `None` if it is not known. If it is the owner who is
    /// asking, that counts as a use.
    fn task_owner(&self, task: &str, asking: &Caller) -> StoreAnswer<Option<TaskOwner>>;

    /// Whether every answer is known at once; one that is not counts as none then.
    /// Asked once, when the layer gets the store. Where it is `false`, everything that
    /// the store is asked about is read twice, to ask and to judge: requests in a session
    /// and about tasks, answers, and events. Who calls and which policy holds is asked
    /// twice then, too.
    fn answers_at_once(&self) -> bool {
        false
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: SessionStore + ?Sized> SessionStore for Arc<S> {
    fn begin_session(&self, session: &str, owner: SessionOwner) -> StoreAnswer<()> {
        (**self).begin_session(session, owner)
    }

    fn session_owner(&self, session: &str, asking: &Caller) -> StoreAnswer<Option<SessionOwner>> {
        (**self).session_owner(session, asking)
    }

    fn end_session(&self, session: &str) -> StoreAnswer<()> {
        (**self).end_session(session)
    }

    fn begin_task(&self, task: &str, owner: TaskOwner) -> StoreAnswer<()> {
        (**self).begin_task(task, owner)
    }

    fn task_owner(&self, task: &str, asking: &Caller) -> StoreAnswer<Option<TaskOwner>> {
        (**self).task_owner(task, asking)
    }

    fn answers_at_once(&self) -> bool {
        (**self).answers_at_once()
    }
}

/// Who began a session, and with which client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOwner {
    caller: Arc<str>,
    client: Option<Arc<str>>,
    elicitation: Elicitation,
}

impl SessionOwner {
    /// The owner of a session that this caller began.
    pub fn new(caller: &Caller) -> Self {
        Self::of_id(caller.shared_id())
    }

    /// The owner of a session that the caller of this [id](Caller::id) began: for a store
    /// that has kept the id.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use mcp_policy::{Caller, SessionOwner};
    ///
    /// let caller = Caller::from(std::net::IpAddr::from(Ipv4Addr::new(203, 0, 113, 7)));
    /// let kept: String = SessionOwner::new(&caller).caller().to_owned();
    /// assert_eq!(SessionOwner::of_id(kept.as_str()), SessionOwner::new(&caller));
    /// // Who is only called like an address is somebody else.
    /// assert_ne!(SessionOwner::of_id(kept.as_str()), SessionOwner::new(&Caller::new(kept)));
    /// ```
    pub fn of_id(caller: impl Into<Arc<str>>) -> Self {
        Self {
            caller: caller.into(),
            client: None,
            elicitation: Elicitation::default(),
        }
    }

    /// With what the client said of itself then: the JSON text of `clientInfo`.
    /// Conditions on `client` look at it.
    #[must_use]
    pub fn with_client(mut self, client: impl Into<Arc<str>>) -> Self {
        self.client = Some(client.into());
        self
    }

    /// The [id](Caller::id) of the caller.
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// With the ways in which the client said that it can ask its user.
    #[must_use]
    pub fn with_elicitation(self, elicitation: Elicitation) -> Self {
        Self {
            elicitation,
            ..self
        }
    }

    pub(crate) fn into_client(self) -> Option<Arc<str>> {
        self.client
    }

    /// The ways in which the client can ask its user; none unless they are known.
    pub fn elicitation(&self) -> Elicitation {
        self.elicitation
    }

    /// All of it but the caller, as one text.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(crate) fn detail(&self) -> Option<Arc<str>> {
        let Elicitation { form, url } = self.elicitation;
        let ways = match (form, url) {
            (false, false) => return self.client.clone(),
            (true, false) => "form",
            (false, true) => "url",
            (true, true) => "both",
        };
        Some(format!("{ways} {}", self.client.as_deref().unwrap_or_default()).into())
    }

    /// What [`detail`](Self::detail) gave. What a client says of itself is an object, so
    /// that it begins with no letter.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(crate) fn from_detail(caller: Arc<str>, detail: Option<Arc<str>>) -> Self {
        let known = |form, url, client: &str| Self {
            caller: Arc::clone(&caller),
            client: Some(client).filter(|text| !text.is_empty()).map(Into::into),
            elicitation: Elicitation { form, url },
        };
        match detail.as_deref().and_then(|text| text.split_once(' ')) {
            Some(("form", client)) => known(true, false, client),
            Some(("url", client)) => known(false, true, client),
            Some(("both", client)) => known(true, true, client),
            _ => Self {
                caller,
                client: detail,
                elicitation: Elicitation::default(),
            },
        }
    }

    /// What the client said of itself; `None` if that is not known.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }
}

/// Who made a task, and with which tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskOwner {
    caller: Arc<str>,
    tool: Arc<str>,
}

impl TaskOwner {
    /// The owner of a task that this caller made with this tool.
    pub fn new(caller: &Caller, tool: impl Into<Arc<str>>) -> Self {
        Self::of_id(caller.shared_id(), tool)
    }

    /// The owner of a task that the caller of this [id](Caller::id) made with this tool:
    /// for a store that has kept both.
    ///
    /// ```
    /// use mcp_policy::{Caller, TaskOwner};
    ///
    /// let owner = TaskOwner::new(&Caller::anonymous(), "run");
    /// assert_eq!(TaskOwner::of_id("(anonymous)", "run"), owner);
    /// ```
    pub fn of_id(caller: impl Into<Arc<str>>, tool: impl Into<Arc<str>>) -> Self {
        Self {
            caller: caller.into(),
            tool: tool.into(),
        }
    }

    /// The [id](Caller::id) of the caller.
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// The name of the tool.
    pub fn tool(&self) -> &str {
        &self.tool
    }
}

/// Some servers read a session id as a UUID, to which neither case nor dashes
/// nor braces mean anything. What is left are its letters and digits.
pub(crate) fn folded(session: &str) -> String {
    let mut folded = session.to_ascii_lowercase();
    folded.retain(|character| character.is_ascii_alphanumeric());
    match folded.strip_prefix("urnuuid") {
        Some(uuid) if !uuid.is_empty() => uuid.to_owned(),
        _ if folded.is_empty() => session.to_owned(),
        _ => folded,
    }
}
