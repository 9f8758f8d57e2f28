mod awaited;
mod from_client;
mod from_server;
mod tell;

use std::future;
use std::sync::{Arc, Mutex, MutexGuard};

use self::awaited::Awaited;
use self::tell::News;
use crate::approval::ApprovalStore;
use crate::audit::{AuditSink, Receipt, Settlement, Unrecorded, note_lost};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::limit::LimitStore;
use crate::lock::lock;
use crate::policy::Policy;
use crate::reload::PolicySource;
use crate::session::SessionStore;

/// Judges bare JSON-RPC messages: for stdio and other transports that are not
/// HTTP.
///
/// Each connection between a client and a server has a [`MessageConnection`],
/// which is handed the messages of both sides. See there for an example.
#[derive(Clone, Debug)]
pub struct MessageGuard {
    engine: Engine,
}

/// Judges the messages of one client and one server, one at a time.
///
/// Each frame is one message without the line end or length around it. Whoever
/// uses this bounds how long a frame may be.
///
/// On stdio line ends part the messages, and some readers, Python's among them,
/// end a line at a carriage return as well. So a message of the client's with a
/// line end inside is refused, and in one of the server's a space is written
/// for it, which to JSON means the same: what goes on is one message to every
/// reader.
///
/// ```
/// use mcp_policy::{Caller, FromClient, FromServer, MessageGuard, Policy};
///
/// # futures::executor::block_on(async {
/// let policy: Policy = r#"{ "version": "1", "default": "deny", "hide": ["wipe"], "tools": { "read": {} } }"#
///     .parse()?;
/// let connection = MessageGuard::new(policy).connect(Caller::local());
///
/// let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wipe"}}"#;
/// assert!(matches!(connection.from_client(call).await, FromClient::Refuse(_)));
///
/// let list = br#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"read"},{"name":"wipe"}]}}"#;
/// let FromServer::Replace(shown) = connection.from_server(list).await else { panic!() };
/// assert_eq!(shown, br#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"read"}]}}"#);
/// # Ok::<(), mcp_policy::LoadError>(())
/// # })?;
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[derive(Debug)]
pub struct MessageConnection {
    engine: Engine,
    caller: Caller,
    /// What the client said of itself.
    client: Mutex<Option<Arc<str>>>,
    awaited: Mutex<Awaited>,
    /// `None` if no policy ever changes.
    news: Option<Mutex<News>>,
}

/// What becomes of a message of the client's.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromClient {
    /// It goes on to the server as it is.
    Forward,
    /// The server is sent this message instead: the same without what the client brings
    /// back for us with a further round (2026-07-28).
    Replace(Vec<u8>),
    /// It does not go on; the client is sent this message instead.
    Refuse(Vec<u8>),
    /// It does not go on, and nobody waits for an answer.
    Drop,
}

/// What becomes of a message of the server's.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromServer {
    /// It goes on to the client as it is.
    Forward,
    /// The client is sent this message instead.
    Replace(Vec<u8>),
    /// It is not for the client, or cannot be read and answers nothing that the client
    /// waits for.
    Drop,
}

impl MessageGuard {
    /// A guard that enforces `policy`, whoever calls.
    pub fn new(policy: Policy) -> Self {
        Self::from_source(policy)
    }

    /// A guard that enforces whichever policy the source has for who calls.
    pub fn from_source(source: impl PolicySource) -> Self {
        Self {
            engine: Engine::new(source),
        }
    }

    /// Records every decision in this sink, too; see
    /// [`PolicyLayer::audit`](crate::PolicyLayer::audit).
    #[must_use]
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.engine.set_audit(sink);
        self
    }

    /// What the server is called in records, and by which it is told apart from others in
    /// a store that they share; see
    /// [`PolicyLayer::server_name`](crate::PolicyLayer::server_name).
    #[must_use]
    pub fn server_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.engine.set_server(name.into());
        self
    }

    /// Remembers in this store which tasks belong to whom; see
    /// [`PolicyLayer::session_store`](crate::PolicyLayer::session_store).
    #[must_use]
    pub fn session_store(mut self, store: impl SessionStore) -> Self {
        self.engine.set_sessions(store);
        self
    }

    /// Counts in this store what limits of the policy speak of; see
    /// [`PolicyLayer::limit_store`](crate::PolicyLayer::limit_store).
    #[must_use]
    pub fn limit_store(mut self, store: impl LimitStore) -> Self {
        self.engine.set_limits(store);
        self
    }

    /// Asks there for approvals; see
    /// [`PolicyLayer::approval_store`](crate::PolicyLayer::approval_store). A call does
    /// not wait for one here: messages come one after the other.
    #[must_use]
    pub fn approval_store(mut self, store: impl ApprovalStore) -> Self {
        self.engine.set_approvals(store);
        self
    }

    /// Tells the time by this clock; see
    /// [`PolicyLayer::clock`](crate::PolicyLayer::clock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.engine.set_clock(clock);
        self
    }

    /// A connection of this caller's.
    pub fn connect(&self, caller: Caller) -> MessageConnection {
        MessageConnection {
            engine: self.engine.clone(),
            caller,
            client: Mutex::default(),
            awaited: Mutex::default(),
            news: News::of(&self.engine).map(Mutex::new),
        }
    }
}

impl MessageConnection {
    /// The next message of our own for the client, which is to be sent between
    /// those of the server: that its lists have changed, because another policy
    /// holds. Only where the server has said that it tells of such changes; until
    /// there is one, this waits.
    ///
    /// To be waited for by one task at a time. If it is dropped before it is done,
    /// nothing is lost.
    pub async fn notification(&self) -> Vec<u8> {
        let Some(news) = &self.news else {
            return future::pending().await;
        };
        future::poll_fn(|context| lock(news).poll(&self.engine, &self.caller, context)).await
    }

    fn note(&self, note: impl FnOnce(&mut News)) {
        if let Some(news) = &self.news {
            note(&mut lock(news));
        }
    }

    fn awaited(&self) -> MutexGuard<'_, Awaited> {
        lock(&self.awaited)
    }
}

/// Waits for the record of an outcome, but not for long: what was decided and done is not
/// changed by one that is lost.
async fn noted(receipt: Receipt) {
    note_lost(settled(receipt).await);
}

/// Waits for a record, but not for long.
async fn settled(receipt: Receipt) -> Result<(), Unrecorded> {
    match receipt.settle() {
        Settlement::Known(result) => result,
        Settlement::Awaited(settling) => settling.await,
    }
}

/// Whether a line ends inside of a message, rather than behind it.
fn has_line_end(frame: &[u8]) -> bool {
    memchr::memchr2(b'\r', b'\n', frame.trim_ascii_end()).is_some()
}

/// Outside of strings a line end is a space to JSON, and inside there is none.
fn on_one_line(mut message: Vec<u8>) -> Vec<u8> {
    for byte in &mut message {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    message
}

#[cfg(test)]
mod tests;
