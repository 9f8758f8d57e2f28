//! tonic: MCP beside gRPC on one port.

#[path = "../../examples/tonic.rs"]
#[allow(dead_code, reason = "only the gRPC service is used")]
mod example;

use axum::Router;
use http::uri::PathAndQuery;
use mcp_policy::PolicyLayer;
use tonic::Status;
use tonic::client::Grpc;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{self, Endpoint};
use tower::ServiceBuilder;

use self::example::{Greeter, TextCodec};
use crate::support::mcp::Mcp;
use crate::support::net::{Server, check, check_with, http2, serve};
use crate::support::{guard, soon};

const METHOD: &str = "/example.Greeter/Greet";

/// A unary call.
async fn greet(server: &Server) -> Result<String, Status> {
    let endpoint = Endpoint::from_shared(server.url("")).unwrap();
    let channel = soon(endpoint.connect()).await.unwrap();
    let mut client = Grpc::new(channel);
    soon(client.ready()).await.unwrap();
    let request = tonic::Request::new("world".to_owned());
    let path = PathAndQuery::from_static(METHOD);
    soon(client.unary(request, path, TextCodec))
        .await
        .map(tonic::Response::into_inner)
}

/// gRPC and MCP on the routes of one server, the layer around all of it.
async fn serve_all(guard: PolicyLayer, mcp: &Mcp) -> Server {
    let app = Router::new().route_service("/mcp", mcp.clone());
    let routes = Routes::from(app).add_service(Greeter);
    Server::run(|listener| {
        transport::Server::builder()
            .accept_http1(true)
            .layer(guard)
            .add_routes(routes)
            .serve_with_incoming(TcpIncoming::from(listener))
    })
    .await
}

#[tokio::test]
async fn routes_in_an_axum_router_with_mcp_nested_under_the_layer() {
    let mcp = Mcp::default();
    let guarded = ServiceBuilder::new().layer(guard()).service(mcp.clone());
    let app = Routes::new(Greeter)
        .into_axum_router()
        .nest_service("/mcp", guarded);
    let server = serve(app).await;

    assert_eq!(greet(&server).await.unwrap(), "Hello, world");
    check(&server.url("/mcp"), &mcp.log).await;
    check_with(http2(), &server.url("/mcp"), &mcp.log, |_| {}).await;
    assert_eq!(greet(&server).await.unwrap(), "Hello, world");
}

#[tokio::test]
async fn routes_under_the_layer_without_a_server_of_tonic() {
    let mcp = Mcp::default();
    let app = Router::new().route_service("/mcp", mcp.clone());
    let routes = Routes::from(app).add_service(Greeter);
    let guard = guard().dangerous().unguarded_path(METHOD);
    let server = serve(ServiceBuilder::new().layer(guard).service(routes)).await;

    assert_eq!(greet(&server).await.unwrap(), "Hello, world");
    check(&server.url("/mcp"), &mcp.log).await;
}

#[tokio::test]
async fn server_layer_with_the_method_left_out() {
    let mcp = Mcp::default();
    let guard = guard().dangerous().unguarded_path(METHOD);
    let server = serve_all(guard, &mcp).await;

    assert_eq!(greet(&server).await.unwrap(), "Hello, world");
    check(&server.url("/mcp"), &mcp.log).await;
    check_with(http2(), &server.url("/mcp"), &mcp.log, |_| {}).await;
}

#[tokio::test]
async fn server_layer_refuses_what_is_not_left_out() {
    let mcp = Mcp::default();
    let other = guard()
        .dangerous()
        .unguarded_path("/example.Greeter/Other")
        .dangerous()
        .unguarded_path("/example.Greeter/");
    for guard in [guard(), other] {
        let server = serve_all(guard, &mcp).await;
        let error = greet(&server).await.unwrap_err();
        assert_ne!(error.code(), tonic::Code::Ok);
        check(&server.url("/mcp"), &mcp.log).await;
    }
}
