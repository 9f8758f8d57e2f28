//! axum: around routes, in a nested service, with `from_fn` below, and around
//! a whole router.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum::{Router, ServiceExt};
use http::{HeaderValue, StatusCode};
use mcp_policy::Permit;
use tower::ServiceBuilder;
use tower_http::map_request_body::MapRequestBodyLayer;
use tower_http::map_response_body::MapResponseBodyLayer;

use crate::support::mcp::Mcp;
use crate::support::net::{Server, check, post_message, send};
use crate::support::{call, guard, list};

async fn serve(app: Router) -> Server {
    Server::run(|listener| axum::serve(listener, app).into_future()).await
}

#[tokio::test]
async fn router_layer() {
    let mcp = Mcp::default();
    let app = Router::new()
        .route_service("/mcp", mcp.clone())
        .layer(guard())
        .route("/health", get(async || "well"));
    let server = serve(app).await;

    check(&server.url("/mcp"), &mcp.log).await;
    // What is added after the layer is beside it.
    let request = http::Request::get(server.url("/health")).body(Default::default());
    assert_eq!(send(request.unwrap()).await.body, "well");
}

#[tokio::test]
async fn router_layer_with_held_streams() {
    let mcp = Mcp::default();
    let app = Router::new()
        .route_service("/mcp", mcp.clone())
        .layer(guard().with_held_streams());
    check(&serve(app).await.url("/mcp"), &mcp.log).await;
}

#[tokio::test]
async fn router_layer_guards_every_route_below_and_the_fallback() {
    let mcp = Mcp::default();
    let app = Router::new()
        .route_service("/one", mcp.clone())
        .route_service("/two", mcp.clone())
        .fallback_service(mcp.clone())
        .layer(guard());
    let server = serve(app).await;

    for path in ["/one", "/two", "/three"] {
        check(&server.url(path), &mcp.log).await;
    }
}

#[tokio::test]
async fn two_router_layers_are_the_intersection() {
    let mcp = Mcp::default();
    let stricter = r#"{ "version": "1", "default": "deny", "tools": { "write": {} } }"#;
    let stricter = mcp_policy::PolicyLayer::new(stricter.parse().unwrap());
    let app = Router::new()
        .route_service("/mcp", mcp.clone())
        .layer(guard())
        .layer(stricter);
    let server = serve(app).await;

    for tool in ["read", "write", "secret"] {
        let answer = send(post_message(&server.url("/mcp"), &call(tool))).await;
        assert!(answer.is_error(), "{answer:?}");
    }
    assert_eq!(mcp.log.take(), [""; 0]);
    let listed = send(post_message(&server.url("/mcp"), &list())).await;
    assert_eq!(listed.tools(), ["read", "write"]);
}

#[tokio::test]
async fn nest_service() {
    let mcp = Mcp::default();
    let guarded = ServiceBuilder::new().layer(guard()).service(mcp.clone());
    let app = Router::new()
        .nest_service("/mcp", guarded)
        .route("/health", get(async || "well"));
    let server = serve(app).await;

    check(&server.url("/mcp"), &mcp.log).await;
    check(&server.url("/mcp/below"), &mcp.log).await;
    let request = http::Request::get(server.url("/health")).body(Default::default());
    assert_eq!(send(request.unwrap()).await.body, "well");
}

/// Shows that it was asked, and that what it sees was judged.
async fn stamp(request: Request, next: Next) -> Response {
    let judged = request.extensions().get::<Permit>().is_some();
    let mut response = next.run(request).await;
    let stamp = HeaderValue::from_static(if judged { "judged" } else { "unjudged" });
    response.headers_mut().insert("x-stamp", stamp);
    response
}

#[tokio::test]
async fn from_fn_directly_below() {
    let mcp = Mcp::default();
    // `FromFn` is written for `axum::body::Body` alone: one bridge is needed.
    let layers = ServiceBuilder::new()
        .layer(guard())
        .layer(MapRequestBodyLayer::new(Body::new))
        .layer(from_fn(stamp));
    let app = Router::new()
        .route_service("/mcp", mcp.clone())
        .layer(layers);
    let server = serve(app).await;

    check(&server.url("/mcp"), &mcp.log).await;
    let passed = send(post_message(&server.url("/mcp"), &call("read"))).await;
    assert_eq!(passed.headers["x-stamp"], "judged");
    let refused = send(post_message(&server.url("/mcp"), &call("write"))).await;
    assert!(!refused.headers.contains_key("x-stamp"));
}

#[tokio::test]
async fn from_fn_below_in_a_router_layer_of_its_own() {
    let mcp = Mcp::default();
    // No bridge: `Route` takes any body.
    let app = Router::new()
        .route_service("/mcp", mcp.clone())
        .layer(from_fn(stamp))
        .layer(guard());
    let server = serve(app).await;

    check(&server.url("/mcp"), &mcp.log).await;
    let passed = send(post_message(&server.url("/mcp"), &call("read"))).await;
    assert_eq!(passed.headers["x-stamp"], "judged");
}

#[tokio::test]
async fn from_fn_above() {
    let mcp = Mcp::default();
    // In the same builder the answer's body needs no bridge; in `FromFn` it
    // only has to be one.
    let layers = ServiceBuilder::new().layer(from_fn(stamp)).layer(guard());
    let app = Router::new()
        .route_service("/mcp", mcp.clone())
        .layer(layers);
    let server = serve(app).await;

    check(&server.url("/mcp"), &mcp.log).await;
    let refused = send(post_message(&server.url("/mcp"), &call("write"))).await;
    assert_eq!(refused.headers["x-stamp"], "unjudged");
}

#[tokio::test]
async fn axum_serve_around_a_whole_router() {
    let mcp = Mcp::default();
    let app = Router::new()
        .route_service("/mcp", mcp.clone())
        .route("/health", get(async || "well"));
    // `axum::serve` takes answers of `axum::body::Body` alone.
    let app = ServiceBuilder::new()
        .layer(MapResponseBodyLayer::new(Body::new))
        .layer(guard())
        .service(app);
    let server = Server::run(|listener| {
        let app = ServiceExt::<Request>::into_make_service(app);
        axum::serve(listener, app).into_future()
    })
    .await;

    check(&server.url("/mcp"), &mcp.log).await;
    // Everything is behind the layer, which takes it for MCP.
    let request = http::Request::put(server.url("/health")).body(Default::default());
    let answer = send(request.unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn axum_serve_around_a_whole_router_with_a_path_left_out() {
    let mcp = Mcp::default();
    let app = Router::new()
        .route_service("/mcp", mcp.clone())
        .route("/health", axum::routing::put(async || "well"));
    let app = ServiceBuilder::new()
        .layer(MapResponseBodyLayer::new(Body::new))
        .layer(guard().dangerous().unguarded_path("/health"))
        .service(app);
    let server = Server::run(|listener| {
        let app = ServiceExt::<Request>::into_make_service(app);
        axum::serve(listener, app).into_future()
    })
    .await;

    check(&server.url("/mcp"), &mcp.log).await;
    let request = http::Request::put(server.url("/health")).body(Default::default());
    assert_eq!(send(request.unwrap()).await.body, "well");
    // Only exactly that path.
    let request = http::Request::put(server.url("/health/")).body(Default::default());
    let answer = send(request.unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// A handler that reads the body as axum's handlers do.
#[tokio::test]
async fn extractors_read_what_was_judged() {
    let app = Router::new()
        .route(
            "/mcp",
            axum::routing::post(async |body: String| -> Result<String, Infallible> { Ok(body) }),
        )
        .layer(guard());
    let server = serve(app).await;
    // The handler answers with what it read, as text.
    let message = call("read");
    let answer = send(post_message(&server.url("/mcp"), &message)).await;
    assert_eq!(answer.body, message.to_string());
}
