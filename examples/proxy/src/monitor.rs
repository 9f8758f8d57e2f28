//! What monitoring is told, on an address of its own: counts, and whether this program
//! lives and can do its work. Names only, as in records, and so to nobody in particular:
//! there is no token.

use std::{
    convert::Infallible,
    future::pending,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use mcp_policy::{ApprovalState, Approvals, Caller, SessionStore};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::TcpListener,
    sync::Mutex,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tower::service_fn;

use crate::{
    access::Access, audit::Lost, failure::Failure, listening, server, shutdown::is_stopping,
    state::Opened, upstream,
};

/// The path of the counts, as Prometheus asks for them.
const METRICS: &str = "/metrics";
/// Whether this program lives.
const HEALTH: &str = "/healthz";
/// Whether it can do its work.
const READINESS: &str = "/readyz";

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

const LATENCY: &str = "mcp_policy_latency_seconds";
/// What latencies are told apart by, in seconds.
const BUCKETS: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

const WAITING: &str = "mcp_policy_proxy_approvals_waiting";
const STATE_READY: &str = "mcp_policy_proxy_state_ready";
/// Whoever is not let in, before any policy.
pub(crate) const REFUSED: &str = "mcp_policy_proxy_refused_total";
/// Whether something is locked down.
pub(crate) const LOCKED_DOWN: &str = "mcp_policy_proxy_locked_down";
/// Whether the configuration that stands there holds.
pub(crate) const CONFIG_LOADED: &str = "mcp_policy_proxy_config_loaded";
const STARTED: &str = "mcp_policy_proxy_start_time_seconds";

/// How often what was measured is put into buckets.
const UPKEEP: Duration = Duration::from_secs(5);
/// For how long it is known whether stores answer: whoever asks does not ask them.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// How long whoever counts may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts, from now on.
pub(crate) struct Monitor {
    counts: PrometheusHandle,
    address: SocketAddr,
    listener: TcpListener,
}

impl Monitor {
    /// Takes the address, and counts everything from now on.
    pub(crate) async fn new(address: SocketAddr) -> Result<Self, Failure> {
        let listener = {
            let otherwise = "choose another address for monitoring, with --metrics or `metrics` \
                             in the configuration";
            listening::bind(address, otherwise).await?
        };
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::start(format!("cannot count for monitoring: {error}"))
        };
        let address = listener.local_addr().map_err(|error| cannot(&error))?;
        let counts = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(LATENCY.to_owned()), &BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| cannot(&error))?;
        describe();
        gauge!(STARTED).set(seconds_since_1970());
        Ok(Self {
            counts,
            address,
            listener,
        })
    }

    /// Answers until the program ends, to those who call this address by a name that is
    /// its own.
    pub(crate) fn open(self, callers: &Access, watched: Watched) {
        let said = format!("metrics are at http://{}{METRICS}\n", self.address);
        // Other programs read it.
        let _ = io::stderr().write_all(said.as_bytes());
        let counts = self.counts.clone();
        tokio::spawn(async move {
            let mut upkeep = interval(UPKEEP);
            upkeep.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                upkeep.tick().await;
                counts.run_upkeep();
            }
        });
        let site = Arc::new(Site {
            access: callers.at(self.address),
            counts: self.counts,
            obstacles: watched.obstacles,
            gauges: watched.gauges,
            stores: Arc::new(Asked::new(watched.stores)),
        });
        let service = service_fn(move |request: Request<Incoming>| {
            let site = Arc::clone(&site);
            async move { Ok::<_, Infallible>(site.answer(&request).await) }
        });
        tokio::spawn(server::serve(self.listener, service, async || {
            pending().await
        }));
    }
}

/// What has to be so for calls to go through.
pub(crate) struct Watched {
    pub(crate) stores: WatchedStores,
    /// What else can be in their way.
    pub(crate) obstacles: Vec<Obstacle>,
    pub(crate) gauges: Vec<Gauge>,
}

/// What is looked at whenever somebody asks for the counts: 1 if it is so.
pub(crate) struct Gauge {
    pub(crate) name: &'static str,
    pub(crate) is_so: Box<dyn Fn() -> bool + Send + Sync>,
}

/// What has to answer.
pub(crate) struct WatchedStores {
    pub(crate) sessions: Option<Arc<dyn SessionStore>>,
    pub(crate) approvals: Approvals,
    pub(crate) opened: Opened,
}

/// What can be in the way of calls.
pub(crate) struct Obstacle {
    /// What is said of it.
    pub(crate) said: &'static str,
    /// Whether it is there now.
    pub(crate) is_there: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Watched {
    /// These stores, this program, and where it records.
    pub(crate) fn new(stores: WatchedStores, lost: Lost) -> Self {
        let obstacles = vec![
            Obstacle {
                said: "it is stopping",
                is_there: Box::new(is_stopping),
            },
            Obstacle {
                said: "calls were refused because they could not be recorded",
                is_there: Box::new(move || lost.is_recent()),
            },
        ];
        Self {
            stores,
            obstacles,
            gauges: Vec::new(),
        }
    }
}

struct Site {
    access: Access,
    counts: PrometheusHandle,
    obstacles: Vec<Obstacle>,
    gauges: Vec<Gauge>,
    stores: Arc<Asked>,
}

/// Stores, and what they answered last, and when.
struct Asked {
    stores: WatchedStores,
    known: Mutex<Option<(Instant, Found)>>,
}

/// What stores answered.
#[derive(Clone, Copy)]
struct Found {
    state_answers: bool,
    /// Requests that wait for an approval; `None` if that is not known.
    waiting: Option<usize>,
}

impl Found {
    const NOTHING: Self = Self {
        state_answers: false,
        waiting: None,
    };

    /// What keeps calls from going through.
    fn missing(self) -> Option<&'static str> {
        match (self.state_answers, self.waiting) {
            (false, _) => Some("where state is kept does not answer"),
            (true, None) => Some("what waits for an approval is not known"),
            (true, Some(_)) => None,
        }
    }

    /// Tells it: what is not known is no number, rather than the last one that was.
    fn tell(self) {
        gauge!(STATE_READY).set(f64::from(u8::from(self.missing().is_none())));
        let waiting = self.waiting.and_then(|waiting| u32::try_from(waiting).ok());
        gauge!(WAITING).set(waiting.map_or(f64::NAN, f64::from));
    }
}

impl Site {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if ![METRICS, HEALTH, READINESS].contains(&path) {
            let text = "Nothing is here. There are /metrics, /healthz and /readyz.\n";
            return answer(StatusCode::NOT_FOUND, TEXT, text);
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut refusal = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Use GET.\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            refusal.headers_mut().insert(header::ALLOW, allowed);
            return refusal;
        }
        match path {
            HEALTH => answer(StatusCode::OK, TEXT, "ok\n"),
            READINESS => self.readiness().await,
            _ if !self.may_read(request) => {
                let text = "Ask by the address, or by a name that callers may use.\n";
                answer(StatusCode::FORBIDDEN, TEXT, text)
            }
            _ => {
                Asked::found(&self.stores).await.tell();
                for Gauge { name, is_so } in &self.gauges {
                    gauge!(*name).set(f64::from(u8::from(is_so())));
                }
                answer(StatusCode::OK, PROMETHEUS, self.counts.render())
            }
        }
    }

    /// Whether calls go through, and else everything that is in their way.
    async fn readiness(&self) -> Response<Full<Bytes>> {
        let there = self.obstacles.iter().filter(|one| (one.is_there)());
        let mut missing: Vec<_> = there.map(|one| one.said).collect();
        missing.extend(Asked::found(&self.stores).await.missing());
        match missing.as_slice() {
            [] => answer(StatusCode::OK, TEXT, "ready\n"),
            missing => {
                let text = format!("not ready: {}\n", missing.join("; "));
                answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
            }
        }
    }

    /// A page of a stranger's cannot make a browser ask by an address, only by a name.
    fn may_read<B>(&self, request: &Request<B>) -> bool {
        let by_address = || {
            let host = request.headers().get(header::HOST)?.to_str().ok()?;
            let is_address = host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
            Some(is_address && !request.headers().contains_key(header::ORIGIN))
        };
        self.access.judge(request).is_ok() || by_address() == Some(true)
    }
}

impl Asked {
    fn new(stores: WatchedStores) -> Self {
        let known = Mutex::new(None);
        Self { stores, known }
    }

    /// Goes on although whoever asked goes away: else who comes and goes would have the
    /// stores asked each time.
    async fn found(asked: &Arc<Self>) -> Found {
        let asked = Arc::clone(asked);
        let finding = tokio::spawn(async move {
            let mut known = asked.known.lock().await;
            if let Some((_, found)) = known.filter(|(since, _)| since.elapsed() < KNOWN_FOR) {
                return found;
            }
            let found = asked.stores.ask().await;
            *known = Some((Instant::now(), found));
            found
        });
        finding.await.unwrap_or(Found::NOTHING)
    }
}

impl WatchedStores {
    async fn ask(&self) -> Found {
        let nobody = Caller::local();
        let owner = self
            .sessions
            .as_ref()
            .map(|store| store.session_owner("(ready)", &nobody));
        let state_answers = match owner {
            Some(owner) => owner.get().await.is_ok(),
            None => true,
        };
        let state_answers =
            state_answers && timeout(PATIENCE, self.opened.answers()).await == Ok(true);
        let waiting = self.approvals.list(&[ApprovalState::Pending]).await;
        Found {
            state_answers,
            waiting: waiting.ok().map(|waiting| waiting.len()),
        }
    }
}

fn answer(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let headers_of_all = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers_of_all {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn describe() {
    describe_counter!("mcp_policy_decisions_total", "Decisions about messages");
    describe_counter!(
        "mcp_policy_seam_panics_total",
        "Panics that refused something"
    );
    describe_counter!(
        "mcp_policy_limits_full_total",
        "Calls refused because there was no room to count them"
    );
    describe_gauge!(
        "mcp_policy_audit_waiting_records",
        "Records that wait to be written"
    );
    describe_counter!(
        "mcp_policy_audit_late_outcomes_total",
        "Answers that went out before their outcome was recorded"
    );
    describe_gauge!(
        "mcp_policy_limit_budgets",
        "Budgets in the memory of this process"
    );
    describe_histogram!(LATENCY, Unit::Seconds, "Time from a message to its answer");
    describe_gauge!(WAITING, "Calls that wait for an approval");
    describe_gauge!(
        STATE_READY,
        "Whether the place where state is kept answers: 1 if it does"
    );
    describe_counter!(
        REFUSED,
        "Calls of those who are not let in, before any policy"
    );
    describe_counter!(
        upstream::FAILURES,
        "Calls that got no answer from a server with a URL"
    );
    describe_gauge!(
        LOCKED_DOWN,
        "Whether something is locked down: 1 if it is so"
    );
    describe_gauge!(
        CONFIG_LOADED,
        "Whether the configuration that stands there holds: 1 if it does"
    );
    describe_gauge!(
        STARTED,
        Unit::Seconds,
        "When this program started, since 1970"
    );
}

fn seconds_since_1970() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use mcp_policy::{MemoryApprovalStore, SessionOwner, StoreAnswer, TaskOwner};

    use super::*;

    /// A store that takes its time.
    #[derive(Default)]
    struct Slow(AtomicUsize);

    impl SessionStore for Slow {
        fn begin_session(&self, _: &str, _: SessionOwner) -> StoreAnswer<()> {
            StoreAnswer::known(())
        }

        fn session_owner(&self, _: &str, _: &Caller) -> StoreAnswer<Option<SessionOwner>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            StoreAnswer::pending(async {
                tokio::task::yield_now().await;
                Ok(None)
            })
        }

        fn end_session(&self, _: &str) -> StoreAnswer<()> {
            StoreAnswer::known(())
        }

        fn begin_task(&self, _: &str, _: TaskOwner) -> StoreAnswer<()> {
            StoreAnswer::known(())
        }

        fn task_owner(&self, _: &str, _: &Caller) -> StoreAnswer<Option<TaskOwner>> {
            StoreAnswer::known(None)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_and_goes_does_not_have_the_stores_asked_each_time() {
        let store = Arc::new(Slow::default());
        let approvals = Approvals::new(MemoryApprovalStore::default());
        let sessions: Arc<dyn SessionStore> = store.clone();
        let asked = Arc::new(Asked::new(WatchedStores {
            sessions: Some(sessions),
            approvals,
            opened: Opened::default(),
        }));
        for _ in 0..10 {
            assert!(Asked::found(&asked).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        assert_eq!(Asked::found(&asked).await.missing(), None);
        assert_eq!(store.0.load(Ordering::Relaxed), 1);
        tokio::time::advance(KNOWN_FOR).await;
        assert_eq!(Asked::found(&asked).await.missing(), None);
        assert_eq!(store.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_is_not_known_is_not_what_it_was() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let told = |state_answers, waiting| {
            let found = Found {
                state_answers,
                waiting,
            };
            metrics::with_local_recorder(&recorder, || found.tell());
            let text = recorder.handle().render();
            let value = |name: &str| {
                let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
                lines.next().unwrap().trim().to_owned()
            };
            [value(WAITING), value(STATE_READY)]
        };
        assert_eq!(told(true, Some(7)), ["7", "1"]);
        assert_eq!(told(true, None), ["NaN", "0"]);
        assert_eq!(told(false, Some(7)), ["7", "0"]);
    }
}
