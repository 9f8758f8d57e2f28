//! What the types promise, without which some stack would not compile.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use mcp_policy::{
    HeldBody, HeldFuture, HeldStreamsLayer, HeldStreamsService, PolicyLayer, PolicyService,
    RequestBody, ResponseBody, ResponseFuture,
};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::body::Script;
use crate::support::mcp::Mcp;
use crate::support::net::{Answer, check, post_message, send, serve};
use crate::support::{call, guard};

fn is_clone<T: Clone>() {}
fn is_send<T: Send>() {}
fn is_sync<T: Sync>() {}
fn is_unpin<T: Unpin>() {}
fn is_static<T: 'static>() {}
fn is_debug<T: std::fmt::Debug>() {}
fn has_default<T: Default>() {}
fn from_bytes<T: From<Bytes>>() {}

/// Neither `Send` nor `Sync` nor anything else.
struct Nothing(#[expect(dead_code, reason = "it is there for its type")] Rc<()>);

#[test]
fn auto_traits() {
    type Service = PolicyService<axum::Router>;
    type Future = ResponseFuture<axum::Router, Incoming, Body>;

    is_clone::<PolicyLayer>();
    is_send::<PolicyLayer>();
    is_sync::<PolicyLayer>();
    is_static::<PolicyLayer>();
    is_debug::<PolicyLayer>();

    is_clone::<Service>();
    is_send::<Service>();
    is_sync::<Service>();
    is_static::<Service>();

    is_send::<Future>();
    is_static::<Future>();
    is_debug::<Future>();

    // For the pooled client.
    is_unpin::<RequestBody<Incoming>>();
    is_send::<RequestBody<Incoming>>();
    is_unpin::<ResponseBody<Incoming>>();
    is_send::<ResponseBody<Incoming>>();
    is_static::<ResponseBody<Incoming>>();

    is_clone::<HeldStreamsLayer>();
    is_sync::<HeldStreamsLayer>();
    is_clone::<HeldStreamsService<axum::Router>>();
    is_sync::<HeldStreamsService<axum::Router>>();
    is_send::<HeldFuture<Body, Infallible>>();
    is_send::<HeldBody<Body, Infallible>>();
    is_unpin::<HeldBody<Incoming, Infallible>>();
    is_static::<HeldBody<Body, Infallible>>();
    has_default::<HeldBody<Nothing, Nothing>>();
    from_bytes::<HeldBody<Nothing, Nothing>>();

    // For layers above that answer by themselves; nothing is asked of `R`.
    has_default::<ResponseBody<Nothing>>();
    from_bytes::<ResponseBody<Nothing>>();
    // For axum's `Body::new`, which asks for no `Sync`.
    is_sync::<RequestBody<Full<Bytes>>>();
    is_sync::<ResponseBody<Full<Bytes>>>();
}

/// A service that stays on its thread, borrows, and whose bodies stay there
/// too.
#[derive(Clone)]
struct Local<'a>(Rc<()>, &'a str);

struct LocalBody(
    Full<Bytes>,
    #[expect(dead_code, reason = "it is there for its type")] Rc<()>,
);

impl http_body::Body for LocalBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(context)
    }
}

impl Service<Request<RequestBody<LocalBody>>> for Local<'_> {
    type Response = Response<LocalBody>;
    /// Not an error, not `Debug`, not `Send`.
    type Error = Nothing;
    type Future = Ready<Result<Self::Response, Nothing>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Nothing>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<LocalBody>>) -> Self::Future {
        let body = LocalBody(Full::from(self.1.to_owned()), Rc::clone(&self.0));
        ready(Ok(Response::new(body)))
    }
}

#[tokio::test]
async fn services_that_are_not_send() {
    let text = "as it is".to_owned();
    let token = Rc::new(());
    let mut service = guard().layer(Local(Rc::clone(&token), &text));
    let request = |tool| {
        let request = post_message("http://localhost/", &call(tool));
        request.map(|body| LocalBody(body, Rc::clone(&token)))
    };

    let Ok(passed) = service.call(request("read")).await else {
        panic!("an error");
    };
    assert_eq!(passed.into_body().collect().await.unwrap().to_bytes(), text);
    let Ok(refused) = service.call(request("write")).await else {
        panic!("an error");
    };
    assert!(Answer::read(refused).await.is_error());
}

/// A body that is not `Unpin`.
#[tokio::test]
async fn bodies_that_are_pinned() {
    #[pin_project::pin_project]
    struct Pinned(#[pin] Full<Bytes>, #[pin] std::marker::PhantomPinned);

    impl http_body::Body for Pinned {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            self.project().0.poll_frame(context)
        }
    }

    let mcp = Mcp::default();
    let service = ServiceBuilder::new()
        .layer(guard())
        .map_response(|response: Response<_>| {
            response.map(|body| Pinned(body, std::marker::PhantomPinned))
        })
        .service(mcp.clone());
    let request = post_message("http://localhost/", &call("read"));
    let request = request.map(|body| Pinned(body, std::marker::PhantomPinned));
    let answer = Answer::read(service.oneshot(request).await.unwrap()).await;
    assert_eq!(answer.text(), "read has run");
}

/// Users who have to name the type of what they store can box it.
#[tokio::test]
async fn box_clone_sync_service() {
    struct App {
        service:
            BoxCloneSyncService<Request<Incoming>, Response<ResponseBody<Full<Bytes>>>, Infallible>,
    }

    let mcp = Mcp::default();
    let app = App {
        service: BoxCloneSyncService::new(guard().layer(mcp.clone())),
    };
    let server = serve(app.service.clone()).await;
    check(&server.url("/"), &mcp.log).await;

    // The other way round: a boxed service behind the layer.
    let inner: BoxCloneSyncService<Request<RequestBody<Incoming>>, _, _> =
        BoxCloneSyncService::new(mcp.clone());
    let server = serve(guard().layer(inner)).await;
    check(&server.url("/"), &mcp.log).await;
}

/// The service that was wrapped can be had back.
#[tokio::test]
async fn inner_service() {
    let mcp = Mcp::default();
    let mut service = guard().layer(mcp.clone());
    service.get_mut().events = true;
    assert!(service.get_ref().events);
    let server = serve(service.clone()).await;
    let answer = send(post_message(&server.url("/"), &call("read"))).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert!(service.into_inner().events);
}

/// Errors of the request body are never errors of the service.
#[tokio::test]
async fn only_errors_of_the_inner_service() {
    fn error<S, B>(_: &S) -> std::marker::PhantomData<S::Error>
    where
        S: Service<Request<B>>,
    {
        std::marker::PhantomData
    }

    let service = ServiceBuilder::new()
        .layer(guard())
        .map_request(|request: Request<RequestBody<Script>>| request.map(drop))
        .service(tower::service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));
    let _: std::marker::PhantomData<Infallible> = error::<_, Script>(&service);
}
