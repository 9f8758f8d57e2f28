//! Where it is kept what limits count, whose session is whose, and what waits for an
//! approval: in memory, in a file, or on a Redis server. [`counted`] is what limits have
//! counted there.

mod counted;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use mcp_policy::{
    ApprovalStore, Clock, MemorySessionStore, MessageGuard, PolicyLayer, RedisApprovalStore,
    RedisLimitStore, RedisSessionStore, RequestStateKeys, SessionStore, SqliteLimitStore,
    StoreError, SystemClock, Usage, UsageFilter,
};

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
        Ok(match self {
            // Not the layer's own, of which nobody else knows.
            Self::Memory => Stores {
                keys,
                counted: Some(Counted::Memory(Arc::default())),
                ..Stores::default()
            },
            Self::File(path) => {
                let limits = Arc::new(file(path)?);
                let keys = match keys {
                    Some(keys) => Ok(keys),
                    None => limits.request_state_keys().await,
                };
                let (sessions, approvals) = (limits.sessions(server), limits.approvals(server));
                Stores::of(Counted::File(limits), sessions, keys)?.with_approvals(approvals)
            }
            Self::Redis(url) => {
                let sessions = RedisSessionStore::connect(url.expose());
                let sessions = sessions.map_err(|error| failed(&error))?;
                let approvals = RedisApprovalStore::connect(url.expose());
                let approvals = approvals.map_err(|error| failed(&error))?;
                let limits = redis(url).await?;
                let keys = match keys {
                    Some(keys) => Ok(keys),
                    None => limits.request_state_keys().await,
                };
                let counted = Counted::Redis(Arc::new(limits));
                Stores::of(counted, sessions.server_name(server), keys)?
                    .with_approvals(approvals.server_name(server))
            }
        })
    }

    /// Opens it for many servers, with these keys if there are any.
    pub(crate) async fn open_for_many(
        &self,
        keys: Option<RequestStateKeys>,
    ) -> Result<ManyStores, Failure> {
        let (place, counted, keys) = match self {
            // Of the process, and not of a layer: those are made anew.
            Self::Memory => {
                let keys = keys.map_or_else(RequestStateKeys::random, Ok);
                let keys = keys.map_err(|error| StoreError::new(error.to_string()));
                (Place::Memory, Counted::Memory(Arc::default()), keys)
            }
            Self::File(path) => {
                let file = Arc::new(file(path)?);
                let keys = match keys {
                    Some(keys) => Ok(keys),
                    None => file.request_state_keys().await,
                };
                (Place::File(Arc::clone(&file)), Counted::File(file), keys)
            }
            Self::Redis(url) => {
                let limits = redis(url).await?;
                let keys = match keys {
                    Some(keys) => Ok(keys),
                    None => limits.request_state_keys().await,
                };
                let counted = Counted::Redis(Arc::new(limits));
                (Place::Redis(url.clone()), counted, keys)
            }
        };
        let approvals: Option<Arc<dyn ApprovalStore>> = match &place {
            Place::Memory => None,
            Place::File(file) => Some(Arc::new(file.approvals(ALL_SERVERS))),
            Place::Redis(url) => {
                let store = RedisApprovalStore::connect(url.expose());
                let store = store.map_err(|error| failed(&error))?;
                Some(Arc::new(store.server_name(ALL_SERVERS)))
            }
        };
        Ok(ManyStores {
            place,
            counted,
            approvals,
            keys: keys.map_err(|error| failed(&error))?,
        })
    }

    /// What is counted, of what is meant; no more than so many.
    pub(crate) async fn usage(
        &self,
        filter: &UsageFilter,
        most: usize,
    ) -> Result<Vec<Usage>, Failure> {
        let found = match self {
            Self::Memory => return Err(in_another_process()),
            Self::File(path) => {
                let file = existing(path)?;
                let found = file.usage(filter, SystemClock.now(), most).await;
                file.close().await.and(found)
            }
            Self::Redis(url) => redis(url).await?.usage(filter, most).await,
        };
        found.map_err(|error| failed(&error))
    }

    /// Forgets what is counted, of what is meant.
    pub(crate) async fn reset(&self, filter: &UsageFilter) -> Result<(), Failure> {
        let done = match self {
            Self::Memory => return Err(in_another_process()),
            Self::File(path) => {
                let file = existing(path)?;
                let done = file.reset(filter, SystemClock.now()).await;
                file.close().await.and(done)
            }
            Self::Redis(url) => redis(url).await?.reset(filter).await,
        };
        done.map_err(|error| failed(&error))
    }
}

fn file(path: &Path) -> Result<SqliteLimitStore, Failure> {
    SqliteLimitStore::open(path).map_err(|error| failed(&error))
}

/// The file that a proxy has made.
fn existing(path: &Path) -> Result<SqliteLimitStore, Failure> {
    match path.exists() {
        true => file(path),
        false => Err(Failure::start(format!(
            "cannot use what --state says: there is no file {}; no proxy has counted there yet",
            path.display()
        ))),
    }
}

/// Somebody answers there: else the first that would hear of a wrong URL is a
/// caller.
async fn redis(url: &Secret) -> Result<RedisLimitStore, Failure> {
    let store = RedisLimitStore::connect(url.expose()).map_err(|error| failed(&error))?;
    store.ready().await.map_err(|error| failed(&error))?;
    Ok(store)
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
    place: Place,
    counted: Counted,
    approvals: Option<Arc<dyn ApprovalStore>>,
    keys: RequestStateKeys,
}

enum Place {
    Memory,
    File(Arc<SqliteLimitStore>),
    Redis(Secret),
}

impl ManyStores {
    /// What limits have counted.
    pub(crate) fn counted(&self) -> Counted {
        self.counted.clone()
    }

    /// Where all calls wait for an approval, if not in memory.
    pub(crate) fn approvals(&self) -> Option<Arc<dyn ApprovalStore>> {
        self.approvals.clone()
    }

    /// Where it is remembered whose session is whose, in front of one server.
    pub(crate) fn sessions(&self, server: &str) -> Result<Arc<dyn SessionStore>, Failure> {
        Ok(match &self.place {
            Place::Memory => Arc::new(MemorySessionStore::default()),
            Place::File(file) => Arc::new(file.sessions(server)),
            Place::Redis(url) => {
                let store = RedisSessionStore::connect(url.expose());
                let store = store.map_err(|error| failed(&error))?;
                Arc::new(store.server_name(server))
            }
        })
    }

    /// What one layer needs of it.
    pub(crate) fn with(&self, sessions: Arc<dyn SessionStore>) -> Stores {
        Stores {
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
    counted: Option<Counted>,
    sessions: Option<Arc<dyn SessionStore>>,
    approvals: Option<Arc<dyn ApprovalStore>>,
    /// What seals request states.
    keys: Option<RequestStateKeys>,
}

impl Stores {
    fn of(
        counted: Counted,
        sessions: impl SessionStore,
        keys: Result<RequestStateKeys, StoreError>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            counted: Some(counted),
            sessions: Some(Arc::new(sessions)),
            approvals: None,
            keys: Some(keys.map_err(|error| failed(&error))?),
        })
    }

    fn with_approvals(self, approvals: impl ApprovalStore) -> Self {
        Self {
            approvals: Some(Arc::new(approvals)),
            ..self
        }
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
