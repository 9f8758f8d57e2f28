//! The MCP server behind the proxy, as a tower service.

// Where it is has to be said, because the benchmark takes this file from elsewhere.
#[path = "upstream/plain.rs"]
mod plain;

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{self, CONTENT_TYPE, HOST},
    request,
    uri::Scheme,
};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use mcp_policy::{DecisionRecord, NotSent, Permit};
use metrics::counter;
use tower::{BoxError, Service};

use self::plain::{Asked, Plain, Unanswered};
use crate::{connect::Connector, headers, message, workers::Each};

/// Counts what came to nothing, by server and why.
pub(crate) const FAILURES: &str = "mcp_policy_proxy_upstream_failures_total";

/// Shorter than the 5 s after which node and uvicorn close an idle
/// connection, so that a call is not sent into one that is just being closed:
/// it could not be repeated, because nobody would know whether it ran.
const IDLE: Duration = Duration::from_secs(4);

/// Connections that each thread keeps for its next call; more may be in use.
const MAX_IDLE: usize = 128;

/// Where requests go, and what is added to them. Read once, at the start.
#[derive(Clone, PartialEq)]
pub(crate) struct Target {
    uri: Uri,
    headers: HeaderMap,
}

impl Target {
    /// Reads `--upstream` and every `--header`. The errors name no values.
    pub(crate) fn new<'a>(
        url: &str,
        headers: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let mut all = HeaderMap::new();
        for text in headers {
            let (name, value) = header_line(text)?;
            all.append(name, value);
        }
        Self::with(url, all).map_err(|what| format!("`--upstream` {what}"))
    }

    /// The same with headers that are read already. The error says what is wrong with
    /// the URL.
    pub(crate) fn with(url: &str, headers: HeaderMap) -> Result<Self, String> {
        let uri = endpoint(url)?;
        Ok(Self { uri, headers })
    }

    /// A request to it, with the headers that were asked for.
    pub(crate) fn request(&self, method: Method) -> request::Builder {
        let mut builder = Request::builder().method(method).uri(self.uri.clone());
        if let Some(headers) = builder.headers_mut() {
            headers.clone_from(&self.headers);
        }
        builder
    }

    /// Host and port, without path and query, which may hold a key.
    pub(crate) fn authority(&self) -> &str {
        self.uri
            .authority()
            .map_or("", |authority| authority.as_str())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.authority()).finish()
    }
}

fn endpoint(url: &str) -> Result<Uri, String> {
    let uri = Uri::try_from(url).map_err(|error| format!("is not a URL: {error}"))?;
    let by_http = [Scheme::HTTP, Scheme::HTTPS]
        .iter()
        .any(|scheme| uri.scheme() == Some(scheme));
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err("holds a user name or password: give them in the header `Authorization`".to_owned())
        }
        Some(authority) if by_http && !authority.host().is_empty() => Ok(uri),
        _ => Err("has to begin with http:// or https:// and a host".to_owned()),
    }
}

/// Reads a `--header`. The error repeats no value.
pub(crate) fn header_line(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("`--header` has to read like 'Name: value'")?;
    header(name, value).map_err(|what| format!("`--header`: {what}"))
}

/// A header for it. The error repeats no value.
pub(crate) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name: HeaderName = name
        .trim()
        .parse()
        .map_err(|_| "the name is not the name of a header")?;
    if headers::is_hop_by_hop(&name) || matches!(name, HOST | header::CONTENT_LENGTH) {
        return Err(format!(
            "`{name}` cannot be set: the proxy speaks HTTP to the upstream by itself"
        ));
    }
    let mut value = HeaderValue::from_str(value.trim())
        .map_err(|_| format!("the value of `{name}` holds characters no header can hold"))?;
    // Kept out of `Debug` output and of HPACK's tables.
    value.set_sensitive(true);
    Ok((name, value))
}

/// Sends requests to the upstream, whatever their target was.
///
/// It never fails: when there is no answer, it gives one.
pub(crate) struct Upstream<B>(Each<Own<B>>);

/// Each thread has its own, as it counts for each call who uses it.
struct Own<B> {
    client: Asking<B>,
    target: Arc<Target>,
}

/// How it is asked.
enum Asking<B> {
    ByHttp1(Plain<B>),
    /// By what it agrees to when TLS begins.
    ByAny(Box<Client<Connector, B>>),
}

impl<B> Asking<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    fn by(connector: &Connector, target: &Target) -> Self {
        let plain = match connector {
            Connector::Plain(_) => Plain::new(connector.clone(), &target.uri),
            Connector::Any(_) => None,
        };
        plain.map_or_else(
            || {
                let mut client = Client::builder(TokioExecutor::new());
                client
                    .pool_timer(TokioTimer::new())
                    .pool_idle_timeout(IDLE)
                    .pool_max_idle_per_host(MAX_IDLE);
                Self::ByAny(Box::new(client.build(connector.clone())))
            },
            Self::ByHttp1,
        )
    }

    fn ask(&self, mut request: Request<B>, target: &Target) -> Asked {
        let client = match self {
            Self::ByHttp1(plain) => return plain.ask(request),
            Self::ByAny(client) => client,
        };
        // The client writes it anew from the target.
        request.headers_mut().remove(HOST);
        *request.uri_mut() = target.uri.clone();
        let answer = client.request(request);
        Box::pin(async {
            answer.await.map_err(|error| match error.is_connect() {
                true => Unanswered::Unreachable(error.into()),
                false => Unanswered::BrokenOff(error.into()),
            })
        })
    }
}

impl<B> Upstream<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    pub(crate) fn new(target: Target) -> Result<Self, rustls::Error> {
        Ok(Self::by(&Connector::to(&target.uri)?, &target))
    }

    /// The same, if it is connected to in this way.
    fn by(connector: &Connector, target: &Target) -> Self {
        Self(Each::of(|| Own {
            client: Asking::by(connector, target),
            target: Arc::new(target.clone()),
        }))
    }
}

impl<B> Clone for Upstream<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> fmt::Debug for Upstream<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Own { target, .. } = self.0.here();
        f.debug_tuple("Upstream").field(target).finish()
    }
}

impl<B> Service<Request<B>> for Upstream<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Answer {
        let Own { client, target } = self.0.here();
        let map = request.headers_mut();
        headers::remove_hop_by_hop(map);
        // Answered by this server already, which has the body or streams it.
        map.remove(header::EXPECT);
        for name in target.headers.keys() {
            map.remove(name);
        }
        for (name, value) in &target.headers {
            map.append(name, value.clone());
        }
        // HTTP/2 is used where TLS negotiates it, however the caller came.
        *request.version_mut() = Version::HTTP_11;
        let permit = request.extensions().get().cloned();
        Answer {
            // Path and query are the operator's: the policy has not judged the caller's.
            response: client.ask(request, target),
            target: Arc::clone(target),
            permit,
        }
    }
}

/// What the upstream streams, or what the proxy says in its place.
pub(crate) type AnswerBody = Either<Incoming, Full<Bytes>>;

/// The answer of the upstream. Dropping it, or the body that it gives, closes
/// the upstream's stream: that is how a cancelled call gets there.
pub(crate) struct Answer {
    response: Asked,
    target: Arc<Target>,
    permit: Option<Permit>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answer").field(&self.target).finish()
    }
}

impl Future for Answer {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match ready!(self.response.as_mut().poll(cx)) {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => self
                .bad_gateway(
                    "protocol",
                    "The MCP server behind this proxy changed to another protocol unasked.",
                ),
            Ok(mut response) => {
                headers::keep_what_is_the_upstreams(response.headers_mut());
                response.map(Either::Left)
            }
            Err(unanswered) => self.unanswered(&unanswered),
        };
        Poll::Ready(Ok(response))
    }
}

impl Answer {
    fn unanswered(&self, why: &Unanswered) -> Response<AnswerBody> {
        let (Unanswered::Unreachable(error) | Unanswered::BrokenOff(error)) = why;
        tracing::warn!(
            upstream = self.target.authority(),
            cause = %Causes(&**error),
            "no answer from the upstream"
        );
        match why {
            Unanswered::Unreachable(_) => {
                let mut response = self.bad_gateway(
                    "unreachable",
                    "The MCP server behind this proxy cannot be reached, so the call was not \
                     made. Try again later; the operator finds in the proxy's log why.",
                );
                response.extensions_mut().insert(NotSent);
                response
            }
            Unanswered::BrokenOff(_) => self.bad_gateway(
                "broken off",
                "The MCP server behind this proxy broke off before it answered. The call \
                 may have run: check that before you repeat it.",
            ),
        }
    }

    /// A JSON-RPC error with the id of the request, which the policy layer
    /// left in its permit: without it, some clients wait for ever.
    fn bad_gateway(&self, kind: &'static str, text: &'static str) -> Response<AnswerBody> {
        let decision = self.permit.as_ref().map(Permit::decision);
        let server = decision.and_then(DecisionRecord::server);
        let server = server.unwrap_or_else(|| self.target.authority()).to_owned();
        counter!(FAILURES, "server" => server, "kind" => kind).increment(1);
        let id = self.permit.as_ref().and_then(Permit::request_id);
        let body = message::error(id, message::INTERNAL_ERROR, text);
        let mut response = Response::new(Either::Right(Full::from(body)));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// An error and what it comes from, in one line.
pub(crate) struct Causes<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::tests::{connector, serve};

    use futures_util::future::join_all;
    use http_body_util::BodyExt;
    use hyper::service::service_fn;
    use tokio::sync::Barrier;
    use tower::ServiceExt;

    /// Calls that are under way together.
    const TOGETHER: usize = 8;

    /// Answers no call before all are there.
    fn answering_together() -> impl hyper::service::Service<
        Request<Incoming>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send {
        let all = Arc::new(Barrier::new(TOGETHER));
        service_fn(move |request: Request<Incoming>| {
            let all = Arc::clone(&all);
            async move {
                if request.method() == Method::POST {
                    all.wait().await;
                }
                let said = format!("{:?} {}", request.version(), request.uri().path());
                Ok::<_, Infallible>(Response::new(Full::from(said)))
            }
        })
    }

    async fn ask(upstream: Upstream<Full<Bytes>>, method: Method, version: Version) -> String {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.method_mut() = method;
        *request.version_mut() = version;
        let answer = upstream.oneshot(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }

    /// What calls are told by such a server of these protocols that has been asked before,
    /// and what its connections speak.
    async fn asked(protocols: &[&str]) -> (Vec<String>, Vec<Option<Vec<u8>>>) {
        let (port, mut accepted) = serve(protocols, answering_together()).await;
        let target = Target::new(&format!("https://localhost:{port}/mcp"), []).unwrap();
        let upstream = Upstream::by(&connector(), &target);
        ask(upstream.clone(), Method::GET, Version::HTTP_11).await;
        let said = join_all((0..TOGETHER).map(|number| {
            // Callers come by either protocol.
            let version = [Version::HTTP_11, Version::HTTP_2][number % 2];
            ask(upstream.clone(), Method::POST, version)
        }))
        .await;
        let accepted = std::iter::from_fn(|| accepted.try_recv().ok());
        (said, accepted.collect())
    }

    #[tokio::test]
    async fn calls_share_one_connection_to_a_server_that_speaks_http2() {
        let (said, accepted) = asked(&["h2", "http/1.1"]).await;
        assert_eq!(said, ["HTTP/2.0 /mcp"; TOGETHER]);
        assert_eq!(accepted, [Some(b"h2".to_vec())]);
    }

    #[tokio::test]
    async fn each_call_has_a_connection_to_a_server_that_speaks_http1() {
        for protocols in [&["http/1.1"][..], &[]] {
            let (said, accepted) = asked(protocols).await;
            assert_eq!(said, ["HTTP/1.1 /mcp"; TOGETHER]);
            let agreed = protocols.first().map(|name| name.as_bytes().to_vec());
            assert!(accepted.iter().all(|one| *one == agreed), "{accepted:?}");
            assert!(accepted.len() >= TOGETHER, "{accepted:?}");
        }
    }
}
