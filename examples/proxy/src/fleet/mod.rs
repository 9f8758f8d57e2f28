//! `serve --config`: many servers, each at a path of its own, and whoever has a grant
//! for one of them.
//!
//! [`start`] begins all that. What runs is replaced as a whole when the configuration
//! changes ([`reload`]): a request is answered ([`answer`]) by what ran when it came.
//! [`guarded`] is one server, [`policies`] what holds for whom in front of it, [`identify`]
//! who calls, [`issued`] the same by tokens of others, [`life`] how streams end when what
//! they are for is gone, and [`shown`] what operators see of all that.

mod answer;
mod guarded;
mod identify;
mod issued;
mod life;
mod policies;
mod reload;
mod shown;
mod start;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, RwLock},
    time::Duration,
};

use http::Request;
use mcp_policy::{ApprovalStore, AuditSink, Policy, PolicyLayer};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower_http::cors::CorsLayer;

pub(crate) use self::start::run;
use self::{
    guarded::Guarded,
    identify::{Grants, Known, RefusalLog, Unknown},
    life::Life,
    policies::Table,
    start::Start,
};
use crate::{
    access::Access,
    admin::News,
    config::{
        Config, KeptPolicy,
        files::{Files, Seen},
    },
    failure::Failure,
    lock::{lock, read},
    lockdown::Lockdown,
    policy,
    public::PublicPages,
    state::{Keeps, ManyStores},
};

/// How long a configuration that is being read is waited for at the end.
const READ: Duration = Duration::from_secs(5);

/// Everything that is served.
pub(crate) struct Fleet {
    path: PathBuf,
    settled: Settled,
    running: RwLock<Arc<Running>>,
    /// Held by whoever reads the configuration.
    reading: tokio::sync::Mutex<()>,
    /// Servers that are gone, whose commands still have to end.
    ending: Mutex<JoinSet<()>>,
    /// How often somebody was refused.
    refused: RefusalLog,
}

/// What only another start changes.
struct Settled {
    start: Start,
    /// Where it listens, with the port that was free if it was to be any.
    address: SocketAddr,
    keeps: Keeps,
    stores: ManyStores,
    approvals: Arc<dyn ApprovalStore>,
    /// Whose budgets all layers share; it is in front of nothing.
    budgets: PolicyLayer,
    audit: Arc<dyn AuditSink>,
    pages: Option<PublicPages>,
    lockdown: Arc<Lockdown>,
    news: News,
    /// Is told of all policies.
    follows: Follows,
}

type Follows = Box<dyn Fn(&[&Policy]) + Send + Sync>;

/// What holds for a request.
#[derive(Clone)]
struct Running {
    access: Access,
    /// Of the pages that may call.
    cors: Option<CorsLayer>,
    servers: BTreeMap<String, Arc<Guarded>>,
    grants: Grants,
    /// Of servers that everybody may use.
    everybodys: BTreeMap<String, Everybody>,
    /// Everything that was read, the last time that it was.
    files: Files,
    /// Why what was read then is not used.
    trouble: Option<Trouble>,
}

/// Whoever uses a server without a grant.
#[derive(Clone)]
struct Everybody {
    policy: KeptPolicy,
    /// Of their streams.
    life: Life,
}

/// Who may use a server.
enum Who<'r> {
    Everybody(&'r Everybody),
    /// Whoever has this grant.
    Known(&'r Known),
}

/// How bad it is, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// The configuration does not load, and what was loaded before holds, except for
    /// tokens that do not stand in it any more.
    Unloadable(String),
    /// Nobody knows what it says.
    Unreadable(String),
}

impl Trouble {
    fn text(&self) -> &str {
        match self {
            Self::Unloadable(text) | Self::Unreadable(text) => text,
        }
    }
}

impl Fleet {
    fn new(path: &Path, config: Config, settled: Settled) -> Result<Self, Failure> {
        let servers = made(&config, &BTreeMap::new(), &settled)?;
        replace_policies(&config, &servers);
        for (path, policy) in config.policies() {
            policy::warn(path, policy, settled.keeps);
        }
        settled.news.policies_are(&config.policies());
        let policies: Vec<_> = config.policies().into_values().collect();
        (settled.follows)(&policies);
        tracing::info!(
            config = %path.display(),
            servers = config.servers.len(),
            grants = config.grants.len(),
            "loaded"
        );
        let grants = Grants::default().followed_by(&config.grants);
        let running = Running::new(config, servers, grants, &BTreeMap::new());
        Ok(Self {
            path: path.to_owned(),
            running: RwLock::new(Arc::new(running)),
            settled,
            reading: tokio::sync::Mutex::default(),
            ending: Mutex::default(),
            refused: RefusalLog::default(),
        })
    }

    fn running(&self) -> Arc<Running> {
        Arc::clone(&read(&self.running))
    }

    fn ending(&self) -> MutexGuard<'_, JoinSet<()>> {
        lock(&self.ending)
    }

    /// Leaves nothing behind that was started. No configuration is read after this.
    async fn end(&self) {
        // Whoever reads one now is waited for, because its servers are other ones; but not
        // for ever, if what they read has no end.
        let _turn = tokio::time::timeout(READ, self.reading.lock()).await;
        let running = self.running();
        let ending = running.servers.values().map(|server| server.end());
        let mut gone = std::mem::take(&mut *self.ending());
        let gone = async { while gone.join_next().await.is_some() {} };
        tokio::join!(futures_util::future::join_all(ending), gone);
    }

    /// How it is, for operators.
    fn status(&self) -> Value {
        let running = self.running();
        let mut grants: Vec<_> = running.grants.labels().into_iter().collect();
        grants.sort_unstable();
        json!({
            "config": self.path.display().to_string(),
            "loaded": running.trouble.is_none(),
            "problems": running.trouble.as_ref().map(Trouble::text),
            "servers": running.servers.keys().collect::<Vec<_>>(),
            "grants": grants,
            "lockdown": self.settled.lockdown.now().1.to_json(),
        })
    }
}

impl Running {
    /// The streams of everybody go on where they went on in the old one.
    fn new(
        config: Config,
        servers: BTreeMap<String, Arc<Guarded>>,
        grants: Grants,
        old: &BTreeMap<String, Everybody>,
    ) -> Self {
        let everybodys = config.servers.into_iter();
        let everybodys = everybodys.filter_map(|(name, server)| {
            let policy = server.policy?;
            let life = old.get(&name).map(|old| old.life.clone());
            let life = life.unwrap_or_else(Life::begin);
            Some((name, Everybody { policy, life }))
        });
        Self {
            cors: config.access.cors(),
            access: config.access,
            servers,
            everybodys: everybodys.collect(),
            grants,
            files: Files::of(config.files),
            trouble: None,
        }
    }

    fn is_unreadable(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Unreadable(_)))
    }

    /// Who may use a server, as far as the configuration knows them.
    fn who<B>(&self, server: &str, request: &Request<B>) -> Result<Who<'_>, Unknown> {
        match self.everybodys.get(server) {
            Some(everybody) => Ok(Who::Everybody(everybody)),
            None => self.grants.who(server, request.headers()).map(Who::Known),
        }
    }

    /// The file of the policy by which a request of theirs will be judged, as it was when
    /// it was read the last time.
    fn policy_file(&self, who: &Who<'_>) -> Option<&Seen> {
        let path = match who {
            Who::Everybody(everybody) => &everybody.policy.path,
            Who::Known(known) => &known.grant.policy.as_ref()?.path,
        };
        self.files.get(path)
    }
}

/// The servers of a configuration, as much of the old ones as is the same.
fn made(
    config: &Config,
    old: &BTreeMap<String, Arc<Guarded>>,
    settled: &Settled,
) -> Result<BTreeMap<String, Arc<Guarded>>, Failure> {
    let servers = config.servers.iter().map(|(name, server)| {
        let made = Guarded::made(name, server, config, old.get(name), settled)?;
        Ok((name.clone(), made))
    });
    servers.collect()
}

/// Replaces the policies in front of every server by those of a configuration.
fn replace_policies(config: &Config, servers: &BTreeMap<String, Arc<Guarded>>) {
    for (name, server) in &config.servers {
        if let Some(guarded) = servers.get(name) {
            let table = Table::of(name, server, &config.grants);
            guarded.policies.replace(table);
        }
    }
}
