//! All of it on a Redis server.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use redis::Cmd;

use crate::approval::RedisApprovalStore;
use crate::limit::RedisLimitStore;
use crate::remote::{Link, Remote};
use crate::rounds::{RequestStateKeys, random_key};
use crate::session::RedisSessionStore;
use crate::store::StoreError;

/// A Redis server, from version 7, or a Valkey server, on which everything is kept that
/// outlives the process, and that any number of machines can share. Clones are the same
/// connection.
///
/// If the server has a `maxmemory`, its `maxmemory-policy` has to be `noeviction`, so that a
/// full server refuses rather than forgets. What a server forgets when it crashes is
/// forgotten: `appendfsync always` keeps everything, `everysec` loses a second. A replica
/// that takes over may lose what it had not got yet.
///
/// There is one connection to one server, for all stores that are made of this. Names of keys
/// are such that a cluster can spread them over its nodes, but this does not follow a
/// cluster's redirections. A thread asks the server, so all of it can be used in any async
/// runtime; it ends when this and all stores that were made of it are dropped. While there
/// is no connection, there is an error at once. At most 1 024 questions wait for an answer;
/// further ones fail.
///
/// ```no_run
/// use mcp_policy::{Approvals, Policy, PolicyLayer, RedisState};
///
/// # async fn serve(layer: PolicyLayer, approvals: Approvals) {}
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let state = RedisState::connect("rediss://:password@redis.internal/0")?;
/// state.ready().await?;
/// let waiting = state.approvals("files");
/// let approvals = Approvals::new(waiting.clone());
/// let layer = PolicyLayer::new(Policy::from_path("policy.json")?)
///     .server_name("files")
///     .limit_store(state.limits())
///     .session_store(state.sessions("files"))
///     .approval_store(waiting)
///     .request_state_keys(state.request_state_keys().await?);
/// serve(layer, approvals).await;
/// // And when the program has stopped serving:
/// state.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisState {
    remote: Arc<Remote>,
    limits: RedisLimitStore,
}

impl RedisState {
    /// Begins to connect to the server at this URL, and goes on trying whenever there
    /// is no connection: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, the same
    /// with `rediss:` for TLS, by the certificates that this machine trusts, or
    /// `unix:///PATH`.
    ///
    /// The first URL with `rediss:` chooses for the whole process what does the
    /// cryptography of `rustls`: `ring`, unless the program has installed another
    /// `CryptoProvider` by then. A program that wants another installs it before.
    ///
    /// # Errors
    ///
    /// If this is no such URL, or no thread can be made.
    pub fn connect(url: &str) -> Result<Self, StoreError> {
        let scripts = [
            RedisLimitStore::scripts(),
            RedisSessionStore::scripts(),
            RedisApprovalStore::scripts(),
        ];
        let remote = Arc::new(Remote::open(url, scripts.concat())?);
        Ok(Self {
            limits: RedisLimitStore::new(Arc::clone(&remote)),
            remote,
        })
    }

    /// Waits until the server has answered.
    ///
    /// # Errors
    ///
    /// If it cannot be connected to, does not answer within 3 s, or forgets keys when
    /// its memory is full.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.remote.ready().await
    }

    /// What limits count, of all servers.
    pub fn limits(&self) -> RedisLimitStore {
        self.limits.clone()
    }

    /// Sessions and tasks of the server of this name.
    pub fn sessions(&self, server: &str) -> RedisSessionStore {
        RedisSessionStore::new(Arc::clone(&self.remote), server)
    }

    /// What waits for an approval, in front of the server of this name. Clone what it
    /// returns, rather than calling it again: clones tell each other what changes at once.
    pub fn approvals(&self, server: &str) -> RedisApprovalStore {
        RedisApprovalStore::new(Arc::clone(&self.remote), server)
    }

    /// The key on the server that seals request states; it is made the first time. All who
    /// can read the server have the key.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or what is there is no key: whoever deletes it then
    /// has a new one made.
    pub async fn request_state_keys(&self) -> Result<RequestStateKeys, StoreError> {
        let new = random_key().map_err(|error| StoreError::new(error.to_string()))?;
        let (mut set, mut get) = (Cmd::new(), Cmd::new());
        set.arg("SET").arg(KEY_THAT_SEALS).arg(&new).arg("NX");
        get.arg("GET").arg(KEY_THAT_SEALS);
        let find = async move |link: Link| {
            link.run::<Option<()>>(&set).await?;
            link.run::<Vec<u8>>(&get).await
        };
        let key = self.remote.begin(find).answer().await?;
        let key = key.try_into();
        let key = key.map_err(|_| NO_KEY)?;
        Ok(RequestStateKeys::new(key))
    }

    /// Waits until the server knows everything that it was told, for a program that is about
    /// to end: what is given back, and which calls are not under way any more. To drop it, and
    /// all that was made of it, does the same, without waiting.
    ///
    /// # Errors
    ///
    /// If that takes longer than 3 s.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.remote.close().await
    }
}

const NO_KEY: StoreError = StoreError::of(
    "what the Redis server has under mcp-policy:1:request-state-key is no key: delete that, and a \
     new one is made",
);

/// Where the key is that seals request states.
const KEY_THAT_SEALS: &str = "mcp-policy:1:request-state-key";

/// What a connection is made with is nobody else's business.
impl fmt::Debug for RedisState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisState").finish_non_exhaustive()
    }
}
