//! The whole gateway, made of parts that any tower user has.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{Either, MapOk, TryFutureExt};
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use mcp_policy::{PolicyLayer, RequestBody};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{BoxError, Service, ServiceBuilder};
use tower_http::{
    map_request_body::MapRequestBodyLayer, validate_request::ValidateRequestHeaderLayer,
};
use tracing::{Instrument, Span, instrument::Instrumented};

use crate::{
    access::Access,
    answers::Answers,
    traces::{self, Traced},
};

/// How long a request body may take to arrive.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// A request body that arrives in time or breaks off.
#[derive(Debug)]
pub(crate) struct Timely {
    body: Incoming,
    begun: Instant,
    /// Only of one that has been waited for: most are there as soon as their head.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Timely {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            begun: Instant::now(),
            deadline: None,
        }
    }
}

impl Body for Timely {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let end = self.begun + BODY_DEADLINE;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(end)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Some(Err("the request body did not arrive in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Stacks everything in front of the server that is guarded, the first one being the
/// first to see a request.
pub(crate) fn gateway<S>(policy: PolicyLayer, access: Access, server: S) -> impl Answers<Incoming>
where
    S: Answers<RequestBody<Timely>> + Sync,
{
    entered(access, guarded(policy, server))
}

/// The service, for those who may talk to this proxy.
pub(crate) fn entered<S>(access: Access, service: S) -> impl Answers<Incoming>
where
    S: Answers<Incoming, Body: Default + From<Bytes>>,
{
    let cors = access.cors();
    let service = ServiceBuilder::new()
        .layer(ValidateRequestHeaderLayer::custom(
            move |request: &mut Request<Incoming>| access.admit(request),
        ))
        .option_layer(cors)
        .service(service);
    traced(service)
}

/// The policy in front of the server.
pub(crate) fn guarded<S>(
    policy: PolicyLayer,
    server: S,
) -> impl Answers<Incoming, Body: Default + From<Bytes>> + Sync
where
    S: Answers<RequestBody<Timely>> + Sync,
{
    ServiceBuilder::new()
        // A body that is announced and never comes would hold its share of the
        // policy layer's memory for ever.
        .layer(MapRequestBodyLayer::new(Timely::new))
        .layer(Traced)
        .layer(policy.with_held_streams())
        .map_request(traces::goes_on)
        .service(server)
}

/// The service, of whose requests the log can tell.
pub(crate) fn traced<S: Answers<Incoming>>(service: S) -> impl Answers<Incoming> {
    Logged(service)
}

/// What tower-http has for this reads the clock, and goes with each answer to its end, for
/// those to whom the log tells nothing, too.
#[derive(Clone)]
struct Logged<S>(S);

type Tell<R> = Box<dyn FnOnce(R) -> R + Send>;

impl<S, B> Service<Request<Incoming>> for Logged<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Either<Instrumented<MapOk<S::Future, Tell<Response<B>>>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let span = span(&request);
        if span.is_disabled() {
            return Either::Right(self.0.call(request));
        }
        let began = Instant::now();
        let tell: Tell<_> = Box::new(move |response| {
            answered(&response, began.elapsed());
            response
        });
        let answering = span.in_scope(|| self.0.call(request)).map_ok(tell);
        Either::Left(answering.instrument(span))
    }
}

/// Only what says nothing about the caller's data: the query is left out, and
/// `?` keeps a path from writing lines of its own into the log.
fn span<B>(request: &Request<B>) -> Span {
    tracing::debug_span!("request", method = %request.method(), path = ?request.uri().path())
}

fn answered<B>(response: &Response<B>, latency: Duration) {
    tracing::debug!(
        status = response.status().as_u16(),
        ms = latency.as_secs_f64() * 1e3,
        "answered"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server;
    use std::{convert::Infallible, future::pending, net::SocketAddr};

    use http_body_util::Full;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time,
    };

    /// Bytes of requests that the gateway below holds at once.
    const BUDGET: usize = 1_000;

    async fn serve() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let policy = r#"{"version":"1","default":"allow"}"#.parse().unwrap();
        let layer = PolicyLayer::new(policy).request_budget(BUDGET);
        let answering = tower::service_fn(|_: Request<RequestBody<Timely>>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let service = gateway(layer, Access::new(address), answering);
        tokio::spawn(server::serve(listener, service, async || pending().await));
        address
    }

    fn head(address: SocketAddr, length: usize) -> String {
        format!(
            "POST /mcp HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    }

    async fn send(address: SocketAddr, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    async fn answer(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    /// The status line of the answer to a ping that needs most of the budget.
    async fn ping(address: SocketAddr) -> String {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let ping = format!("{ping:BUDGET$}");
        let ping = head(address, ping.len()) + &ping;
        let answer = answer(send(address, &ping).await).await;
        answer.lines().next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn what_never_arrives_whole_gives_back_what_it_holds() {
        let address = serve().await;
        assert_eq!(ping(address).await, "HTTP/1.1 200 OK");
        let half_a_head = send(address, "POST /mcp HTTP/1.1\r\nhost: ").await;
        let half_a_body = head(address, 100) + r#"{"jsonrpc":"#;
        let half_a_body = send(address, &half_a_body).await;
        // It may still be on its way.
        while ping(address).await != "HTTP/1.1 503 Service Unavailable" {}
        // From here on the clock goes on to the next timer whenever everything
        // waits.
        time::pause();
        let before = Instant::now();
        let refused = answer(half_a_body).await;
        assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
        assert!(refused.contains("did not arrive whole"), "{refused}");
        assert!(before.elapsed() < BODY_DEADLINE * 2);
        assert_eq!(answer(half_a_head).await, "");
        time::resume();
        assert_eq!(ping(address).await, "HTTP/1.1 200 OK");
    }
}
