//! Where it is kept what limits count, whose session is whose, and what waits for an
//! approval: in memory, in a file, or on a Redis server. [`counted`] is what limits have
//! counted there.

mod counted;

use std::{path::PathBuf, sync::Arc, time::Duration};

use mcp_policy::{
    ApprovalStore, LimitFilter, LimitUsage, MemoryLimitStore, MemorySessionStore, MessageGuard,
    PolicyLayer, RedisState, RequestStateKeys, SessionStore, SqliteState, StoreError,
};
use tokio::time::timeout;

pub(crate) use self::counted::{Counted, MeantBudgets, order};
use crate::{failure::Failure, secret::Secret};

/// What `--state` says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// Of this process, and forgotten when it ends.
    Memory,
    /// In a file that proxies on this machine can share.
    File(PathBuf),
    /// On a Redis or Valkey server.
    Redis(Secret),
}

/// How long it is known what was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// This program.
    UntilItEnds,
    /// Over restarts.
    ForLonger,
}

impl State {
    pub(crate) fn parse(text: &Secret) -> Result<Self, Failure> {
        let is_url = |text: &str| {
            ["redis://", "rediss://", "unix://"]
                .iter()
                .any(|scheme| text.starts_with(scheme))
        };
        match text.expose() {
            "memory" => Ok(Self::Memory),
            url if is_url(url) => Ok(Self::Redis(text.clone())),
            other => match other.strip_prefix("sqlite:") {
                Some(path) if !path.is_empty() => Ok(Self::File(path.into())),
                // What was typed may hold a password.
                _ => Err(Failure::usage(
                    "--state is `memory`, `sqlite:PATH`, or the URL of a Redis server such as \
                     `redis://127.0.0.1:6379`",
                )),
            },
        }
    }

    /// How long it is known.
    pub(crate) fn keeps(&self) -> Keeps {
        match self {
            Self::Memory => Keeps::UntilItEnds,
            Self::File(_) | Self::Redis(_) => Keeps::ForLonger,
        }
    }

    /// Opens it for the server of this name, with these keys if there are any.
    pub(crate) async fn open(
        &self,
        server: &str,
        keys: Option<RequestStateKeys>,
    ) -> Result<Stores, Failure> {
        let opened = self.opened().await?;
        let (sessions, keys) = match opened {
            // The layer has its own.
            Opened::Memory => (None, keys),
            _ => (
                Some(opened.sessions(server)),
                Some(opened.keys(keys).await?),
            ),
        };
        Ok(Stores {
            counted: Some(opened.counted()),
            sessions,
            approvals: opened.approvals(server),
            keys,
            opened,
        })
    }

    /// Opens it for many servers, with these keys if there are any.
    pub(crate) async fn open_for_many(
        &self,
        keys: Option<RequestStateKeys>,
    ) -> Result<ManyStores, Failure> {
        let opened = self.opened().await?;
        Ok(ManyStores {
            counted: opened.counted(),
            approvals: opened.approvals(ALL_SERVERS),
            keys: opened.keys(keys).await?,
            opened,
        })
    }

    /// What is counted, of what is meant; no more than so many.
    pub(crate) async fn usage(
        &self,
        filter: &LimitFilter,
        most: usize,
    ) -> Result<Vec<LimitUsage>, Failure> {
        let opened = self.counted_before().await?;
        let found = opened.counted().usage(filter, most).await;
        opened.close().await;
        found.map_err(|error| failed(&error))
    }

    /// Forgets what is counted, of what is meant.
    pub(crate) async fn reset(&self, filter: &LimitFilter) -> Result<(), Failure> {
        let opened = self.counted_before().await?;
        let done = opened.counted().reset(filter).await;
        opened.close().await;
        done.map_err(|error| failed(&error))
    }

    async fn opened(&self) -> Result<Opened, Failure> {
        Ok(match self {
            Self::Memory => Opened::Memory,
            Self::File(path) => {
                let file = SqliteState::open(path);
                Opened::File(file.map_err(|error| failed(&error))?)
            }
            // Somebody answers there: else the first that would hear of a wrong URL is a
            // caller.
            Self::Redis(url) => {
                let server = RedisState::connect(url.expose());
                let server = server.map_err(|error| failed(&error))?;
                server.ready().await.map_err(|error| failed(&error))?;
                Opened::Redis(server)
            }
        })
    }

    /// Where a proxy has counted.
    async fn counted_before(&self) -> Result<Opened, Failure> {
        match self {
            Self::Memory => Err(in_another_process()),
            Self::File(path) if !path.exists() => Err(Failure::start(format!(
                "cannot use what --state says: there is no file {}; no proxy has counted there yet",
                path.display()
            ))),
            Self::File(_) | Self::Redis(_) => self.opened().await,
        }
    }
}

/// What is open, and closed when nothing more is served; clones share it.
#[derive(Clone, Default)]
pub(crate) enum Opened {
    #[default]
    Memory,
    File(SqliteState),
    Redis(RedisState),
}

/// How long a disk may take for what was told last.
const FAREWELL: Duration = Duration::from_secs(5);

impl Opened {
    /// Where limits count. What is in memory is not the layer's own, of which nobody else
    /// knows.
    fn counted(&self) -> Counted {
        match self {
            Self::Memory => Counted::of(MemoryLimitStore::default()),
            Self::File(file) => Counted::of(file.limits()),
            Self::Redis(server) => Counted::of(server.limits()),
        }
    }

    fn sessions(&self, server: &str) -> Arc<dyn SessionStore> {
        match self {
            Self::Memory => Arc::new(MemorySessionStore::default()),
            Self::File(file) => Arc::new(file.sessions(server)),
            Self::Redis(redis) => Arc::new(redis.sessions(server)),
        }
    }

    /// `None` in memory, where whoever serves has them.
    fn approvals(&self, server: &str) -> Option<Arc<dyn ApprovalStore>> {
        match self {
            Self::Memory => None,
            Self::File(file) => Some(Arc::new(file.approvals(server))),
            Self::Redis(redis) => Some(Arc::new(redis.approvals(server))),
        }
    }

    /// These, or else those that are kept there.
    async fn keys(&self, keys: Option<RequestStateKeys>) -> Result<RequestStateKeys, Failure> {
        let kept = match (keys, self) {
            (Some(keys), _) => Ok(keys),
            // Of the process, and not of a layer: those are made anew.
            (None, Self::Memory) => {
                RequestStateKeys::random().map_err(|error| StoreError::new(error.to_string()))
            }
            (None, Self::File(file)) => file.request_state_keys().await,
            (None, Self::Redis(server)) => server.request_state_keys().await,
        };
        kept.map_err(|error| failed(&error))
    }

    /// Whether what all stores have in common does what they need. Of a file that is known
    /// from any of them.
    pub(crate) async fn answers(&self) -> bool {
        match self {
            Self::Memory | Self::File(_) => true,
            Self::Redis(server) => server.ready().await.is_ok(),
        }
    }

    /// Waits until everything is kept that it was told, when nothing more is served.
    pub(crate) async fn close(&self) {
        let closing = async {
            match self {
                Self::Memory => Ok(()),
                Self::File(file) => file.close().await,
                Self::Redis(server) => server.close().await,
            }
        };
        let error = match timeout(FAREWELL, closing).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => StoreError::new("the disk is too slow"),
        };
        tracing::error!(%error, "what calls have used up, and which have ended, may not be kept");
    }
}

fn failed(error: &StoreError) -> Failure {
    Failure::start(format!(
        "cannot use what --state, or `state` in the configuration, says: {error}"
    ))
}

fn in_another_process() -> Failure {
    Failure::usage(
        "what is counted in memory is known to the proxy alone: its console shows it, at `/limits` \
         of the admin address; or have it counted in `sqlite:PATH` or at the URL of a Redis \
         server, with --state or `state` in its configuration, and say the same here",
    )
}

/// Under which name calls wait that are for any of many servers. No server can be
/// called that.
const ALL_SERVERS: &str = "(all)";

/// Where the layers in front of many servers keep what they count: in one place, so
/// that it is there for a layer that is made anew, and operators see everything at
/// once.
pub(crate) struct ManyStores {
    opened: Opened,
    counted: Counted,
    approvals: Option<Arc<dyn ApprovalStore>>,
    keys: RequestStateKeys,
}

impl ManyStores {
    /// What has to be closed.
    pub(crate) fn opened(&self) -> Opened {
        self.opened.clone()
    }

    /// What limits have counted.
    pub(crate) fn counted(&self) -> Counted {
        self.counted.clone()
    }

    /// Where all calls wait for an approval, if not in memory.
    pub(crate) fn approvals(&self) -> Option<Arc<dyn ApprovalStore>> {
        self.approvals.clone()
    }

    /// Where it is remembered whose session is whose, in front of one server.
    pub(crate) fn sessions(&self, server: &str) -> Arc<dyn SessionStore> {
        self.opened.sessions(server)
    }

    /// What one layer needs of it.
    pub(crate) fn with(&self, sessions: Arc<dyn SessionStore>) -> Stores {
        Stores {
            opened: self.opened(),
            counted: Some(self.counted.clone()),
            sessions: Some(sessions),
            // All calls wait in one place.
            approvals: None,
            keys: Some(self.keys.clone()),
        }
    }
}

/// Where a layer keeps what it counts; in itself if that is not said.
#[derive(Clone, Default)]
pub(crate) struct Stores {
    opened: Opened,
    counted: Option<Counted>,
    sessions: Option<Arc<dyn SessionStore>>,
    approvals: Option<Arc<dyn ApprovalStore>>,
    /// What seals request states.
    keys: Option<RequestStateKeys>,
}

impl Stores {
    /// What has to be closed.
    pub(crate) fn opened(&self) -> Opened {
        self.opened.clone()
    }

    /// What limits have counted, if that is not in the layer.
    pub(crate) fn counted(&self) -> Option<Counted> {
        self.counted.clone()
    }

    /// Where calls wait for an approval, if anybody can give one.
    pub(crate) fn approvals(&self) -> Option<Arc<dyn ApprovalStore>> {
        self.approvals.clone()
    }

    /// Where it is known whose session is whose, if that is not in memory.
    pub(crate) fn sessions(&self) -> Option<Arc<dyn SessionStore>> {
        self.sessions.clone()
    }

    /// The layer, which keeps it there.
    pub(crate) fn under(self, mut layer: PolicyLayer) -> PolicyLayer {
        if let Some(counted) = self.counted {
            layer = layer.limit_store(counted.store());
        }
        if let Some(sessions) = self.sessions {
            layer = layer.session_store(sessions);
        }
        if let Some(keys) = self.keys {
            layer = layer.request_state_keys(keys);
        }
        layer
    }

    /// The same for messages that do not come over HTTP.
    pub(crate) fn under_guard(self, mut guard: MessageGuard) -> MessageGuard {
        if let Some(counted) = self.counted {
            guard = guard.limit_store(counted.store());
        }
        if let Some(sessions) = self.sessions {
            guard = guard.session_store(sessions);
        }
        guard
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<State, Failure> {
        State::parse(&text.parse().unwrap_or_else(|never| match never {}))
    }

    #[test]
    fn a_state_is_in_memory_in_a_file_or_on_a_server() {
        assert!(matches!(parse("memory"), Ok(State::Memory)));
        assert!(matches!(parse("sqlite:a b"), Ok(State::File(path)) if path == Path::new("a b")));
        for url in ["redis://localhost", "rediss://:hunter2@a:1/2", "unix:///a"] {
            let state = parse(url).unwrap();
            assert!(!format!("{state:?}").contains("hunter2"));
            assert!(matches!(state, State::Redis(read) if read.expose() == url));
        }
        for other in ["", "sqlite:", "file:a", "redis:hunter2", "Memory"] {
            let Err(Failure::Usage(text)) = parse(other) else {
                panic!("{other}");
            };
            assert!(!text.contains("hunter2"));
        }
    }
}
