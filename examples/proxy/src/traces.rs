//! Spans for an OpenTelemetry collector: one for each request, in the trace of whoever
//! made it.
//!
//! Begun where the request goes on to the server, because only then it is known which
//! trace its message names, or where it is answered, if it does not go on. What is in a
//! span is what is in records: names, no values.

use std::{
    collections::HashMap,
    env,
    sync::{Arc, Mutex, OnceLock},
    task::{Context as TaskContext, Poll},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{Either, MapOk, TryFutureExt};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, uri::Authority};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use mcp_policy::{DecisionRecord, Permit};
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{
        SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer,
        TracerProvider,
    },
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Handle;
use tower::{Layer, Service};

use crate::{
    connect::{self, Connector},
    failure::Failure,
    lock::lock,
};

const NAME: &str = "mcp-policy-proxy";
/// Where spans go, as OpenTelemetry has it; nowhere if neither is set.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// How long the last spans may take at the end.
const LAST: Duration = Duration::from_secs(3);
/// For one message to the collector.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of what the collector answers.
const LONGEST_ANSWER: usize = 64 << 10;
/// Bytes of a caller's `tracestate`, as many as W3C Trace Context asks to pass on. It
/// stays in memory until the span is sent, and so do many spans.
const LONGEST_STATE: usize = 512;

/// What makes spans, if that was asked for.
static TRACES: OnceLock<Traces> = OnceLock::new();

struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

/// Makes spans from now on, if the environment names a collector.
pub(crate) fn start() -> Result<(), Failure> {
    let is_set =
        |name| env::var_os(name).is_some_and(|value: std::ffi::OsString| !value.is_empty());
    if !ENDPOINTS.into_iter().any(is_set) {
        return Ok(());
    }
    for name in ENDPOINTS.into_iter().filter(|name| is_set(name)) {
        let url = env::var(name).unwrap_or_default();
        is_usable(&url).map_err(|why| Failure::start(format!("{name} {why}")))?;
    }
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::start(format!(
            "cannot send traces where OTEL_EXPORTER_OTLP_… says: {why}; without that variable none \
             are sent"
        ))
    };
    let client = Collector::new().map_err(|error| cannot(&error))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(client)
        .build()
        .map_err(|error| cannot(&error))?;
    let mut resource = Resource::builder();
    if !is_set("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(NAME);
    }
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_batch_exporter(exporter)
        .build();
    let traces = Traces {
        tracer: provider.tracer(NAME),
        provider,
        propagator: TraceContextPropagator::new(),
    };
    // Set only here, once.
    let _ = TRACES.set(traces);
    Ok(())
}

/// Whether spans can be sent to this URL. The error repeats nothing of it: whoever gives
/// a password there would find it in errors and logs.
fn is_usable(url: &str) -> Result<(), &'static str> {
    let url = Uri::try_from(url)
        .map_err(|_| "is not a URL that can be used, as http://localhost:4318 is")?;
    let holds_a_user = |authority: &Authority| authority.as_str().contains('@');
    if url.authority().is_some_and(holds_a_user) {
        return Err("holds a user name or password: give them in OTEL_EXPORTER_OTLP_HEADERS");
    }
    Ok(())
}

/// Sends what is left. Nothing is sent after this.
pub(crate) async fn end() {
    if let Some(traces) = TRACES.get() {
        // It waits for a thread, which needs this runtime.
        let ended = tokio::task::spawn_blocking(|| traces.provider.shutdown_with_timeout(LAST));
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

/// The span of one request, between the two places that know something of it.
#[derive(Clone)]
struct Slot(Arc<Open>);

struct Open {
    began: SystemTime,
    /// Of the HTTP request.
    caller: Context,
    /// Once it is begun.
    span: Mutex<Option<Context>>,
}

impl Traces {
    fn slot(&self, headers: &HeaderMap) -> Slot {
        let caller = self
            .propagator
            .extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let caller = with_little_state(caller);
        Slot(Arc::new(Open {
            began: SystemTime::now(),
            caller,
            span: Mutex::default(),
        }))
    }

    /// The span of this slot, which is begun if it was not.
    fn span(&self, slot: &Slot, record: &DecisionRecord) -> Context {
        let mut span = lock(&slot.0.span);
        let begun = span.get_or_insert_with(|| {
            let builder = SpanBuilder::from_name(name(record))
                .with_kind(SpanKind::Server)
                .with_start_time(slot.0.began)
                .with_attributes(attributes(record));
            let parent = self.parent(slot, record);
            Context::new().with_span(self.tracer.build_with_context(builder, &parent))
        });
        begun.clone()
    }

    /// What the message says comes before what the request says, which may be that of
    /// something between.
    fn parent(&self, slot: &Slot, record: &DecisionRecord) -> Context {
        let Some(trace_parent) = record.trace_parent() else {
            return slot.0.caller.clone();
        };
        let carrier = HashMap::from([("traceparent".to_owned(), trace_parent.to_owned())]);
        self.propagator
            .extract_with_context(&Context::new(), &carrier)
    }

    fn finish<B>(&self, slot: &Slot, response: &Response<B>) {
        let Some(record) = response.extensions().get::<DecisionRecord>() else {
            return;
        };
        let context = self.span(slot, record);
        let span = context.span();
        // What was decided may have been taken back since.
        for (key, value) in decided(record) {
            span.set_attribute(KeyValue::new(key, value));
        }
        let status = response.status();
        let status_code = i64::from(status.as_u16());
        span.set_attribute(KeyValue::new("http.response.status_code", status_code));
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The same trace, without a state that is too long to be kept.
fn with_little_state(context: Context) -> Context {
    let span = context.span().span_context().clone();
    if span.trace_state().header().len() <= LONGEST_STATE {
        return context;
    }
    context.with_remote_span_context(SpanContext::new(
        span.trace_id(),
        span.span_id(),
        span.trace_flags(),
        span.is_remote(),
        TraceState::NONE,
    ))
}

/// Names that clients choose are no names of spans: only those of what the policy
/// allows under a name of its own, and of no URI.
fn name(record: &DecisionRecord) -> String {
    if !record.is_allowed() {
        return "refused".to_owned();
    }
    let method = record.method().unwrap_or(record.kind().as_str());
    let is_known = |section: &&str| record.rule().starts_with(*section);
    let is_known = ["/tools/", "/prompts/"].iter().any(is_known);
    match record.name().filter(|_| is_known) {
        Some(name) => format!("{method} {name}"),
        None => method.to_owned(),
    }
}

fn attributes(record: &DecisionRecord) -> Vec<KeyValue> {
    let of_name = match record.method() {
        Some("tools/call") => "gen_ai.tool.name",
        Some("prompts/get") => "gen_ai.prompt.name",
        Some("resources/read") => "mcp.resource.uri",
        _ => "mcp_policy.name",
    };
    let optional = [
        ("mcp.method.name", record.method()),
        (of_name, record.name()),
        ("mcp_policy.server", record.server()),
    ];
    let known = optional
        .into_iter()
        .filter_map(|(key, value)| Some(KeyValue::new(key, value?.to_owned())));
    let decided = decided(record).map(|(key, value)| KeyValue::new(key, value));
    known.chain(decided).collect()
}

fn decided(record: &DecisionRecord) -> [(&'static str, String); 3] {
    [
        ("mcp_policy.decision", record.id().to_string()),
        ("mcp_policy.verdict", record.verdict().as_str().to_owned()),
        ("mcp_policy.rule", record.rule().to_owned()),
    ]
}

/// What goes on to the server belongs to the span of the request.
pub(crate) fn goes_on<B>(mut request: Request<B>) -> Request<B> {
    let Some(traces) = TRACES.get() else {
        return request;
    };
    let extensions = request.extensions();
    let slot = extensions.get::<Slot>().cloned();
    let permit = extensions.get::<Permit>();
    let span = permit.zip(slot.as_ref());
    let span = span.map(|(permit, slot)| traces.span(slot, permit.decision()));
    if let Some(span) = span {
        let headers = request.headers_mut();
        // Of the parent, which may be another now.
        headers.remove("tracestate");
        traces
            .propagator
            .inject_context(&span, &mut HeaderInjector(headers));
        // One that says nothing is no header.
        if headers.get("tracestate").is_some_and(HeaderValue::is_empty) {
            headers.remove("tracestate");
        }
    }
    request
}

/// Makes a span of each request that is judged inside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traced;

impl<S> Layer<S> for Traced {
    type Service = TracedService<S>;

    fn layer(&self, service: S) -> TracedService<S> {
        TracedService(service)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TracedService<S>(S);

type Finish<R> = Box<dyn FnOnce(R) -> R + Send>;

impl<S, Q, B> Service<Request<Q>> for TracedService<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Either<MapOk<S::Future, Finish<Response<B>>>, S::Future>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let Some(traces) = TRACES.get() else {
            return Either::Right(self.0.call(request));
        };
        let slot = traces.slot(request.headers());
        request.extensions_mut().insert(slot.clone());
        let finish: Finish<_> = Box::new(move |response| {
            traces.finish(&slot, &response);
            response
        });
        Either::Left(self.0.call(request).map_ok(finish))
    }
}

/// Takes what is exported to the collector, on the runtime of this program: who exports
/// has none.
#[derive(Debug)]
struct Collector {
    client: Client<Connector, Full<Bytes>>,
    runtime: Handle,
}

impl Collector {
    fn new() -> Result<Self, rustls::Error> {
        let client = connect::client()?;
        let runtime = Handle::current();
        Ok(Self { client, runtime })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = async move {
            let asking = client.request(request.map(Full::new));
            let (head, body) = asking.await?.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        // The timer, too, has to be made on the runtime.
        let sent = self
            .runtime
            .spawn(async move { tokio::time::timeout(PATIENCE, sending).await });
        sent.await??
    }
}
