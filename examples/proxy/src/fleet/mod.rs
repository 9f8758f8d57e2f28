//! `serve --config`: many servers, each at a path of its own, and whoever has a grant
//! for one of them.
//!
//! What runs is replaced as a whole when the configuration changes ([`reload`]): a
//! request is answered by what ran when it came. [`guarded`] is one server, [`policies`]
//! what holds for whom in front of it, [`identify`] who calls, [`issued`] the same by
//! tokens of others, [`life`] how streams end when what they are for is gone, and [`shown`]
//! what operators see of all that.

mod guarded;
mod identify;
mod issued;
mod life;
mod policies;
mod reload;
mod shown;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, RETRY_AFTER},
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use mcp_policy::{ApprovalStore, AuditSink, Policy, PolicyLayer};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt};
use tower_http::cors::CorsLayer;

use self::{
    guarded::{Body, Guarded},
    identify::{Grants, Known, RefusalLog, Unknown},
    life::Life,
    policies::Table,
};
use crate::{
    access::{self, Access, ENDPOINT},
    admin::{Admin, News},
    audit::{self, Lost, Place},
    config::{
        Config, KeptPolicy, Limits,
        files::{Files, Seen},
    },
    diagnostics,
    failure::Failure,
    gateway, headers,
    jwt::Expiry,
    listening,
    lockdown::Lockdown,
    monitor::{Monitor, Obstacle, Watched, WatchedStores},
    public::{PublicPages, PublicUrl},
    running::Now,
    sealing,
    secret::Secret,
    state::{Keeps, ManyStores, State},
    stream::only_listens,
    traces, webhook,
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

/// What a configuration said of that.
#[derive(Debug, PartialEq)]
struct Start {
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    public_url: Option<PublicUrl>,
    state: Option<State>,
    key_file: Option<PathBuf>,
    audit: Option<Place>,
    audit_keep: Option<u32>,
    metrics: Option<SocketAddr>,
    webhook: Option<Secret>,
    budgets: [Option<usize>; 2],
}

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

impl Start {
    fn of(config: &Config) -> Self {
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
    let config = Config::load(path).map_err(Failure::Config)?;
    let state = match &config.state {
        Some(state) => state.clone(),
        None => State::parse(state)?,
    };
    let webhook = config.webhook.as_ref().map(webhook::open).transpose()?;
    let admin = Admin::new(config.admin)?;
    let monitor = match config.metrics {
        Some(address) => Some(Monitor::new(address).await?),
        None => None,
    };
    traces::start()?;
    let records = audit::open(config.audit.as_ref(), config.audit_keep)?;
    let admin = admin.recording_in(config.audit.as_ref());
    let lost = Lost::default();
    let audit = lost.beside(admin.shown_beside(records.clone()));
    let listener = listening::bind(config.listen, "choose another address with `listen`").await?;
    let keys = sealing::read(config.key_file.as_deref())?;
    let stores = state.open_for_many(keys).await?;
    let admin = admin.keeping_in(stores.approvals());
    let admin = admin.counting_in(Some(stores.counted()));
    if let Some(webhook) = webhook {
        tokio::spawn(admin.approvals().notify(webhook));
    }
    let watched = WatchedStores {
        sessions: Some(stores.sessions("(ready)")?),
        approvals: admin.approvals(),
    };
    let mut watched = Watched::new(watched, lost);
    if config.listen.ip().is_unspecified() && !config.names_hosts {
        tracing::warn!(
            "callers have to use a loopback name: name the host that others use in `allowed_hosts`"
        );
    }
    let lockdown = Lockdown::new(&config.lockdown);
    let lockdown = lockdown.map_err(|error| Failure::start(error.to_string()))?;
    let pages = config
        .public_url
        .as_ref()
        .map(|url| PublicPages::new(url, config.access.clone(), admin.approvals()));
    let address = listener.local_addr();
    let settled = Settled {
        address: address.unwrap_or(config.listen),
        start: Start::of(&config),
        keeps: state.keeps(),
        stores,
        approvals: admin.store(),
        budgets: budgets(&config.limits, lockdown.for_all()),
        audit,
        pages,
        lockdown: Arc::new(lockdown),
        news: admin.news().clone(),
        follows: Box::new(admin.follows_all()),
    };
    let access = config.access.clone();
    let fleet = Arc::new(Fleet::new(path, config, settled)?);
    let told = Arc::downgrade(&fleet);
    let shown = Weak::clone(&told);
    let status = move || told.upgrade().map_or(Value::Null, |fleet| fleet.status());
    let admin = admin.telling(Arc::new(status)).showing(move || {
        let fleet = shown.upgrade();
        fleet.map_or_else(Now::default, |fleet| fleet.now())
    });
    admin.open(&access).await?;
    Fleet::attend(&fleet)?;
    if let Some(monitor) = monitor {
        let fleet = Arc::downgrade(&fleet);
        let is_unreadable = move || {
            let fleet = fleet.upgrade();
            fleet.is_none_or(|fleet| fleet.running().is_unreadable())
        };
        watched.obstacles.push(Obstacle {
            said: "the configuration cannot be read, so nobody is let in",
            is_there: Box::new(is_unreadable),
        });
        monitor.open(&access, watched);
    }
    let ended = serve_fleet(listener, fleet).await;
    audit::close(records).await;
    ended
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

async fn serve_fleet(
    listener: tokio::net::TcpListener,
    fleet: Arc<Fleet>,
) -> Result<ExitCode, Failure> {
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

impl Fleet {
    fn new(path: &Path, config: Config, settled: Settled) -> Result<Self, Failure> {
        let servers = made(&config, &BTreeMap::new(), &settled)?;
        replace_policies(&config, &servers);
        for (path, policy) in config.policies() {
            diagnostics::warn(path, policy, settled.keeps);
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
        let running = self.running.read();
        Arc::clone(&running.unwrap_or_else(PoisonError::into_inner))
    }

    fn ending(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Answers any request.
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let running = self.current().await;
        if running.is_unreadable() {
            return unreadable();
        }
        if let Err(foreign) = running.access.judge(&request) {
            return boxed(foreign.refused());
        }
        if let Some(pages) = &self.settled.pages
            && let Some(page) = pages.page(&request).await
        {
            return boxed(page);
        }
        let Some(cors) = &running.cors else {
            return self.route(&running, request).await;
        };
        let running = &running;
        let service = tower::service_fn(|request| async move {
            Ok::<_, Infallible>(self.route(running, request).await)
        });
        match cors.layer(service).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Hands a request to the server that its path names, if the caller may use that.
    async fn route(&self, running: &Arc<Running>, request: Request<Incoming>) -> Response<Body> {
        let mut running = Arc::clone(running);
        if let Some(metadata) = self.metadata(&running, &request) {
            return boxed(metadata);
        }
        let name = request.uri().path().strip_prefix(ENDPOINT);
        let name = name.and_then(|name| name.strip_prefix('/'));
        let Some(name) = name.map(str::to_owned) else {
            return nothing_here();
        };
        let mut who = running.who(&name, &request);
        if let Ok(known) = &who
            && let Some(file) = running.policy_file(known)
            && !file.is_current()
        {
            self.reload().await;
            running = self.running();
            if running.is_unreadable() {
                return unreadable();
            }
            who = running.who(&name, &request);
        }
        let Some(server) = running.servers.get(&name) else {
            return nothing_here();
        };
        let mut request = request;
        let admitted = match self.admit(who, server, &name, &mut request).await {
            Ok(admitted) => admitted,
            Err(refusal) => return boxed(refusal),
        };
        headers::keep_what_is_the_callers(request.headers_mut(), false);
        let listens = only_listens(&request);
        let answer = admitted.life.bounds(server.answer(request).await);
        match admitted.expiry {
            Some(expiry) if listens => life::until(expiry, answer),
            // What was asked in time is answered, however long that takes.
            _ => answer,
        }
    }

    /// Tells the policy who calls, or says why they may not.
    async fn admit<B>(
        &self,
        who: Result<Who<'_>, Unknown>,
        server: &Guarded,
        name: &str,
        request: &mut Request<B>,
    ) -> Result<Admitted, Whole> {
        let (caller, life, expiry) = match (who, &server.issued) {
            (Ok(Who::Everybody(everybody)), None) => (None, &everybody.life, None),
            (Ok(Who::Everybody(everybody)), Some(issued)) => {
                let known = issued.who(request.headers()).await;
                let (caller, expiry) = known.map_err(|refused| {
                    self.refused.say(name, refused.why());
                    issued.refused(&refused)
                })?;
                (Some(caller), &everybody.life, Some(expiry))
            }
            (Ok(Who::Known(known)), _) => (Some(known.caller.clone()), &known.life, None),
            (Err(unknown), _) => {
                self.refused.say(name, unknown.why());
                return Err(unknown.refused());
            }
        };
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        if let Some(expiry) = expiry {
            request.extensions_mut().insert(expiry);
        }
        let life = life.clone();
        Ok(Admitted { life, expiry })
    }

    /// What clients have to know of a server before they have a token for it.
    fn metadata<B>(&self, running: &Running, request: &Request<B>) -> Option<Whole> {
        let path = request.uri().path().strip_prefix(issued::METADATA)?;
        let public = self.settled.start.public_url.as_ref()?;
        // Something in front may have taken its own part away.
        let path = path.strip_prefix(&**public.path()).unwrap_or(path);
        let name = path.strip_prefix(ENDPOINT)?.strip_prefix('/')?;
        let issued = running.servers.get(name)?.issued.as_ref()?;
        Some(match *request.method() {
            Method::GET => issued.metadata(name),
            _ => {
                let text = "Use GET.\n";
                let kind = "text/plain; charset=utf-8";
                let mut answer: Whole = access::answer(StatusCode::METHOD_NOT_ALLOWED, kind, text);
                let allowed = http::HeaderValue::from_static("GET");
                answer.headers_mut().insert(ALLOW, allowed);
                answer
            }
        })
    }
}

/// For how long somebody was let in.
struct Admitted {
    life: Life,
    /// Until when their token is one, if it expires.
    expiry: Option<Expiry>,
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

type Whole = Response<Full<Bytes>>;

fn boxed(response: Whole) -> Response<Body> {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

fn nothing_here() -> Response<Body> {
    let text = "Nothing is here. The MCP endpoint of a server is /mcp/ and its name.\n";
    let answer: Whole = access::answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text);
    boxed(answer)
}

/// Who is let in is not known, so nobody is.
fn unreadable() -> Response<Body> {
    let text = "The configuration of this proxy cannot be read, so nobody is let in. The operator \
                finds in its log why.";
    let mut answer: Whole = access::refused(StatusCode::SERVICE_UNAVAILABLE, text);
    let later = http::HeaderValue::from_static("5");
    answer.headers_mut().insert(RETRY_AFTER, later);
    boxed(answer)
}
