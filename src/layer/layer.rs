use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::budget::Budget;
use super::config::Config;
use super::held_streams::HeldStreamsLayer;
use super::identify::IdentifyCaller;
use super::service::PolicyService;
use crate::approval::{ApprovalId, ApprovalStore};
use crate::audit::AuditSink;
#[cfg(doc)]
use crate::caller::Caller;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::limit::LimitStore;
use crate::policy::Policy;
use crate::reload::PolicySource;
use crate::rounds::RequestStateKeys;
use crate::session::SessionStore;

/// Puts a policy in front of an MCP server.
///
/// What is mounted behind it is taken to be an MCP endpoint, all of it: POST
/// bodies are judged, GET streams are filtered, DELETE passes, and everything
/// else is refused with 405. Paths that are not MCP go beside it.
///
/// The layer has no type parameters, is cheap to clone, and is
/// `Send + Sync`. All services made from one layer and its clones share its
/// memory budgets, its sessions, and what was seen of the tools of the server: make
/// another layer for another server.
///
/// ```
/// use mcp_policy::{Policy, PolicyLayer};
/// use tower::{ServiceBuilder, service_fn};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
///
/// let policy: Policy = r#"{ "version": "1", "default": "deny", "tools": { "get_weather": {} } }"#
///     .parse()?;
/// let service = ServiceBuilder::new()
///     .layer(PolicyLayer::new(policy).max_body_size(1 << 20))
///     .service(service_fn(|_: Request<mcp_policy::RequestBody<Full<Bytes>>>| async {
///         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
///     }));
/// # fn is_service<S: tower::Service<Request<Full<Bytes>>>>(_: S) {}
/// # is_service(service);
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PolicyLayer {
    config: Arc<Config>,
}

/// Options that weaken a [`PolicyLayer`], so that a review can search for
/// them. Made by [`PolicyLayer::dangerous`].
#[derive(Debug)]
pub struct Dangerous {
    layer: PolicyLayer,
}

impl PolicyLayer {
    /// A layer that enforces `policy`, whoever calls.
    pub fn new(policy: Policy) -> Self {
        Self::from_source(policy)
    }

    /// A layer that enforces whichever policy the source has for who calls.
    pub fn from_source(source: impl PolicySource) -> Self {
        Self {
            config: Arc::new(Config::new(Engine::new(source))),
        }
    }

    /// Finds out who calls, before a [`Caller`] in the extensions of the request is looked
    /// at. Where it gives `None`, it is as [`Caller`] says. If it panics, the request is
    /// refused.
    ///
    /// ```
    /// use http::request::Parts;
    /// use mcp_policy::{Caller, Policy, PolicyLayer};
    ///
    /// #[derive(Clone)]
    /// struct Claims { subject: String }
    ///
    /// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
    /// let layer = PolicyLayer::new(policy).caller_with(|head: &Parts| {
    ///     head.extensions.get::<Claims>().map(|claims| Caller::new(&claims.subject))
    /// });
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    #[must_use]
    pub fn caller_with(self, identify: impl IdentifyCaller) -> Self {
        self.with(|config| config.identify = Some(Arc::new(identify)))
    }

    /// Records every decision in this sink, too, and what came of it; see
    /// [`AuditSink`].
    ///
    /// ```no_run
    /// use mcp_policy::{JsonLines, Policy, PolicyLayer};
    ///
    /// let policy = Policy::from_path("policy.json")?;
    /// let layer = PolicyLayer::new(policy).audit(JsonLines::append_to("audit.jsonl")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn audit(self, sink: impl AuditSink) -> Self {
        self.with(|config| config.engine.set_audit(sink))
    }

    /// What the server behind the layer is called in records, and by which limits,
    /// approvals and request states are told apart from those of other servers in a store
    /// that they share: layers without a name, and those with the same one, count as one
    /// server there.
    #[must_use]
    pub fn server_name(self, name: impl Into<Arc<str>>) -> Self {
        self.with(|config| config.engine.set_server(name.into()))
    }

    /// Remembers in this store which sessions and tasks belong to whom, rather
    /// than in one of the layer's own; see [`SessionStore`].
    #[must_use]
    pub fn session_store(self, store: impl SessionStore) -> Self {
        self.with(|config| config.engine.set_sessions(store))
    }

    /// Counts in this store what limits of the policy speak of, rather than in one
    /// of the layer's own; see [`LimitStore`].
    #[must_use]
    pub fn limit_store(self, store: impl LimitStore) -> Self {
        self.with(|config| config.engine.set_limits(store))
    }

    /// Asks there for the approvals that `require_approval` of the policy speaks of.
    /// Without it nobody can give any, and what has to be approved is refused.
    ///
    /// Calls wait [for a while](Self::approval_wait) until somebody has decided, in an
    /// application that shows them with [`Approvals`](crate::Approvals); then the caller is
    /// told that the same call can be made again later. An approval is used once.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use mcp_policy::{Approvals, MemoryApprovalStore, Policy, PolicyLayer};
    ///
    /// let store = Arc::new(MemoryApprovalStore::default());
    /// let approvals = Approvals::new(store.clone());
    /// let policy: Policy = r#"{ "version": "1", "default": "deny",
    ///     "tools": { "refund": { "require_approval": true } } }"#.parse()?;
    /// let layer = PolicyLayer::new(policy).approval_store(store);
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    #[must_use]
    pub fn approval_store(self, store: impl ApprovalStore) -> Self {
        self.with(|config| config.engine.set_approvals(store))
    }

    /// How long a call is held that somebody has to approve; 25 s unless it is set.
    /// It has to be less than the time after which clients give up a call. With no time at
    /// all every such call is told at once that it waits.
    ///
    /// A client that is asked itself, on the [stream](Self::with_held_streams) of its own
    /// call, has twice that time: its user has to read first what is asked.
    #[must_use]
    pub fn approval_wait(self, time: Duration) -> Self {
        self.with(|config| config.approval_wait = time)
    }

    /// Where the page is on which a user can see what becomes of a request: clients that
    /// can open pages are sent there (2025-11-25 and 2026-07-28). An application serves
    /// it, and must show no more than the [state](crate::ApprovalRequest::state) there:
    /// whoever has the address may look, and only operators may decide. If the closure
    /// panics, there is no page.
    ///
    /// ```
    /// use mcp_policy::{Policy, PolicyLayer};
    ///
    /// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
    /// let layer = PolicyLayer::new(policy)
    ///     .approval_page(|id| format!("https://gateway.example.com/approvals/{id}"));
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    #[must_use]
    pub fn approval_page(
        self,
        page: impl Fn(&ApprovalId) -> String + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.engine.set_approval_page(page))
    }

    /// Seals with these keys what clients of 2026-07-28 bring back with a further round
    /// of a call, rather than with one that nobody else has: for replicas, and so that it
    /// is still good when the process has ended.
    #[must_use]
    pub fn request_state_keys(self, keys: RequestStateKeys) -> Self {
        self.with(|config| config.engine.set_request_state_keys(keys))
    }

    /// Tells the time by this clock, for tests of what depends on it.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|config| config.engine.set_clock(clock))
    }

    /// Bytes that the body of one request may have; 4 MiB unless it is set. A
    /// larger one is refused with 413.
    #[must_use]
    pub fn max_body_size(self, bytes: usize) -> Self {
        self.with(|config| config.max_body_size = bytes)
    }

    /// Bytes that one answer may have, or one event of a stream; 32 MiB unless
    /// it is set. A larger one is replaced by an error which says that the call
    /// was made.
    #[must_use]
    pub fn max_response_size(self, bytes: usize) -> Self {
        self.with(|config| config.max_response_size = bytes)
    }

    /// Bytes of request bodies that are held at once by everything made from
    /// this layer; 256 MiB unless it is set. When they are used up, requests
    /// are refused with 503 and `Retry-After`. It has to be several times
    /// [`max_body_size`](Self::max_body_size): a body that is larger than all of it is
    /// refused however often it is sent.
    #[must_use]
    pub fn request_budget(self, bytes: usize) -> Self {
        self.with(|config| config.requests = Budget::new(bytes))
    }

    /// Bytes of answers that are held at once by everything made from this
    /// layer; 512 MiB unless it is set. When they are used up, answers are
    /// replaced by an error.
    #[must_use]
    pub fn response_budget(self, bytes: usize) -> Self {
        self.with(|config| config.responses = Budget::new(bytes))
    }

    /// Takes what it holds out of the budgets of another layer, so that the layers in
    /// front of several servers hold no more together than one does.
    ///
    /// ```
    /// use mcp_policy::{Policy, PolicyLayer};
    ///
    /// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
    /// let files = PolicyLayer::new(policy.clone()).request_budget(64 << 20);
    /// let mail = PolicyLayer::new(policy).sharing_budgets_of(&files);
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    #[must_use]
    pub fn sharing_budgets_of(self, other: &Self) -> Self {
        self.with(|config| {
            config.requests = Arc::clone(&other.config.requests);
            config.responses = Arc::clone(&other.config.responses);
        })
    }

    /// Accepts arrays of messages, which clients of 2025-03-26 may send; without
    /// this they are refused.
    ///
    /// Each message is judged. If all may go on, the array goes on as it is; if
    /// one may not, none does, and each that has an id is told why. An array
    /// with `initialize` or with one id twice is refused, and so is one of more
    /// than 100 messages, one that uses up more than 256 different limits, and any
    /// of 2026-07-28.
    #[must_use]
    pub fn accept_batches(self) -> Self {
        self.with(|config| config.accepts_batches = true)
    }

    /// The same as a layer whose services can ask the client whether it approves a call of
    /// its own, while that waits (2025-06-18 and 2025-11-25). Options are to be set before.
    ///
    /// Without it, such a client is told what to do in words, and can never approve.
    ///
    /// ```
    /// use mcp_policy::{HeldStreamsLayer, MemoryApprovalStore, Policy, PolicyLayer};
    ///
    /// let policy: Policy = r#"{ "version": "1", "default": "deny",
    ///     "tools": { "send": { "require_approval": { "approver": "caller" } } } }"#.parse()?;
    /// let layer: HeldStreamsLayer = PolicyLayer::new(policy)
    ///     .approval_store(MemoryApprovalStore::default())
    ///     .with_held_streams();
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    #[must_use]
    pub fn with_held_streams(self) -> HeldStreamsLayer {
        HeldStreamsLayer::new(self)
    }

    /// Access to options that weaken the layer.
    #[must_use]
    pub fn dangerous(self) -> Dangerous {
        Dangerous { layer: self }
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl Dangerous {
    /// Lets every request for exactly this path pass unread, and its answer
    /// too: a health check, or a gRPC method that is served beside MCP.
    ///
    /// The path is compared as the layer sees it, byte by byte, without the
    /// query. Routers may have removed the prefix of a nested service:
    ///
    /// ```
    /// use axum::Router;
    /// use mcp_policy::{Policy, PolicyLayer};
    /// use tower::Layer;
    ///
    /// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
    /// // From outside it is `/mcp/healthz`.
    /// let layer = PolicyLayer::new(policy).dangerous().unguarded_path("/healthz");
    /// let app: Router = Router::new().nest_service("/mcp", layer.layer(Router::new()));
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    #[must_use]
    pub fn unguarded_path(self, path: impl Into<String>) -> PolicyLayer {
        let path = path.into();
        self.layer.with(|config| config.unguarded_paths.push(path))
    }

    /// Lets every caller begin so many sessions in a minute, instead of 60: where
    /// many come through something that makes them one caller, such as one address.
    ///
    /// Those beyond are refused by the rule `(session)`; with 0 nobody begins one. How
    /// much can be used up does not depend on it: limits that count by session have a
    /// bound of their own.
    #[must_use]
    pub fn sessions_per_minute(self, most: u32) -> PolicyLayer {
        self.layer
            .with(|config| config.engine.set_sessions_per_minute(most))
    }
}

impl<S> Layer<S> for PolicyLayer {
    type Service = PolicyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PolicyService::new(inner, Arc::clone(&self.config))
    }
}
