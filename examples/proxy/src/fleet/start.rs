//! Starts everything that a configuration says, in the order in which it may fail.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Weak},
};

use mcp_policy::{Policy, PolicyLayer};
use serde_json::Value;
use tokio::net::TcpListener;

use super::{Fleet, Settled};
use crate::{
    access::ENDPOINT,
    admin::Admin,
    around::{self, Kept, Monitoring, Wanted},
    audit::Place,
    config::{Config, Limits},
    failure::Failure,
    gateway, listening,
    lockdown::Lockdown,
    monitor::{CONFIG_LOADED, Gauge, LOCKED_DOWN, Obstacle},
    public::{PublicPages, PublicUrl},
    running::Now,
    sealing,
    secret::Secret,
    state::State,
    webhook,
};

/// What a configuration said of that.
#[derive(Debug, PartialEq)]
pub(super) struct Start {
    pub(super) listen: SocketAddr,
    pub(super) admin: Option<SocketAddr>,
    pub(super) public_url: Option<PublicUrl>,
    pub(super) state: Option<State>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) audit: Option<Place>,
    pub(super) audit_keep: Option<u32>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) webhook: Option<Secret>,
    pub(super) budgets: [Option<usize>; 2],
}

impl Start {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listen: config.listen,
            admin: config.admin,
            public_url: config.public_url.clone(),
            state: config.state.clone(),
            key_file: config.key_file.clone(),
            audit: config.audit.clone(),
            audit_keep: config.audit_keep,
            metrics: config.metrics,
            webhook: config.webhook.clone(),
            budgets: [config.limits.request_budget, config.limits.response_budget],
        }
    }
}

/// Serves what the configuration says until a signal stops it.
pub(crate) async fn run(path: &Path, state: &Secret) -> Result<ExitCode, Failure> {
    let config = Config::load(path)?;
    let state = match &config.state {
        Some(state) => state.clone(),
        None => State::parse(state)?,
    };
    let webhook = config.webhook.as_ref().map(webhook::open).transpose()?;
    let admin = Admin::new(config.admin)?;
    let wanted = Wanted {
        listen: config.listen,
        otherwise: "choose another address with `listen`",
        metrics: config.metrics,
        audit: config.audit.as_ref(),
        audit_keep: config.audit_keep,
    };
    let begun = around::begin(&wanted, admin).await?;
    let keys = sealing::read(config.key_file.as_deref())?;
    let stores = state.open_for_many(keys).await?;
    let kept = Kept {
        approvals: stores.approvals(),
        counted: Some(stores.counted()),
        sessions: Some(stores.sessions("(ready)")),
        opened: stores.opened(),
    };
    let around = begun.keeping_in(kept, webhook);
    let admin = around.admin;
    warn_of_names(&config);
    let lockdown = Lockdown::new(&config.lockdown);
    let lockdown = lockdown.map_err(|error| Failure::start(error.to_string()))?;
    let settled = Settled {
        address: around.listener.local_addr().unwrap_or(config.listen),
        start: Start::of(&config),
        keeps: state.keeps(),
        stores,
        approvals: admin.store(),
        budgets: budgets(&config.limits, lockdown.for_all()),
        audit: around.audit,
        pages: pages(&config, &admin),
        lockdown: Arc::new(lockdown),
        news: admin.news().clone(),
        follows: Box::new(admin.follows_all()),
    };
    let access = config.access.clone();
    let fleet = Arc::new(Fleet::new(path, config, settled)?);
    let admin = told_of(admin, &fleet);
    admin.open(&access).await?;
    Fleet::attend(&fleet)?;
    let monitoring = around.monitoring.watching(unreadable(&fleet));
    let gauges = gauges(&fleet).into_iter();
    let monitoring = gauges.fold(monitoring, Monitoring::telling);
    monitoring.open(&access);
    let ended = serve_fleet(around.listener, fleet).await;
    around.ending.end().await;
    ended
}

/// What callers see of what waits, if it is known where.
fn pages(config: &Config, admin: &Admin) -> Option<PublicPages> {
    let url = config.public_url.as_ref()?;
    let access = config.access.clone();
    Some(PublicPages::new(url, access, admin.approvals()))
}

/// Who listens everywhere is reached by names that have to be known.
fn warn_of_names(config: &Config) {
    if config.listen.ip().is_unspecified() && !config.names_hosts {
        tracing::warn!(
            "callers have to use a loopback name: name the host that others use in `allowed_hosts`"
        );
    }
}

/// The console, told of everything that is served.
fn told_of(admin: Admin, fleet: &Arc<Fleet>) -> Admin {
    let told = Arc::downgrade(fleet);
    let shown = Weak::clone(&told);
    let status = move || told.upgrade().map_or(Value::Null, |fleet| fleet.status());
    admin.telling(Arc::new(status)).showing(move || {
        let fleet = shown.upgrade();
        fleet.map_or_else(Now::default, |fleet| fleet.now())
    })
}

/// Why monitoring is told that nobody is served, while that is so.
fn unreadable(fleet: &Arc<Fleet>) -> Obstacle {
    let fleet = Arc::downgrade(fleet);
    let is_unreadable = move || {
        let fleet = fleet.upgrade();
        fleet.is_none_or(|fleet| fleet.running().is_unreadable())
    };
    Obstacle {
        said: "the configuration cannot be read, so nobody is let in",
        is_there: Box::new(is_unreadable),
    }
}

/// What monitoring is told of the configuration and of what is locked.
fn gauges(fleet: &Arc<Fleet>) -> [Gauge; 2] {
    let gauge = |name, is_so: fn(&Fleet) -> bool| {
        let fleet = Arc::downgrade(fleet);
        let is_so = move || fleet.upgrade().is_some_and(|fleet| is_so(&fleet));
        Gauge {
            name,
            is_so: Box::new(is_so),
        }
    };
    [
        gauge(CONFIG_LOADED, |fleet| fleet.running().trouble.is_none()),
        gauge(LOCKED_DOWN, |fleet| {
            !fleet.settled.lockdown.now().1.is_nothing()
        }),
    ]
}

/// A layer with these budgets, and any policy.
fn budgets(limits: &Limits, policy: Policy) -> PolicyLayer {
    let mut layer = PolicyLayer::new(policy);
    if let Some(bytes) = limits.request_budget {
        layer = layer.request_budget(bytes);
    }
    if let Some(bytes) = limits.response_budget {
        layer = layer.response_budget(bytes);
    }
    layer
}

async fn serve_fleet(listener: TcpListener, fleet: Arc<Fleet>) -> Result<ExitCode, Failure> {
    let running = fleet.running();
    let endpoints = running
        .servers
        .keys()
        .map(|name| format!("{ENDPOINT}/{name}"));
    let endpoints: Vec<_> = endpoints.collect();
    drop(running);
    let front = Arc::clone(&fleet);
    let service = tower::service_fn(move |request| {
        let front = Arc::clone(&front);
        async move { Ok::<_, Infallible>(front.answer(request).await) }
    });
    let service = gateway::traced(service);
    let ended = listening::serve_until_stopped(listener, service, &endpoints, |_| ()).await;
    fleet.end().await;
    ended
}
