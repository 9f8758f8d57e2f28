//! rmcp's server behind the layer, and rmcp's client in front of it.

use std::sync::Arc;

use axum::Router;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::model::{CallToolRequestParams, ClientConfig, ServerCapabilities, ServerConfig};
use rmcp::service::{ClientLifecycleMode, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, ServiceExt, tool, tool_handler, tool_router};
use tower::Layer;

use crate::support::mcp::Log;
use crate::support::net::{Server, serve};
use crate::support::{guard, soon};

#[derive(Clone)]
struct Tools {
    log: Log,
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Tools {
    fn new(log: Log) -> Self {
        let tool_router = Self::tool_router();
        Self { log, tool_router }
    }

    fn run(&self, tool: &str) -> String {
        self.log.push(tool);
        format!("{tool} has run")
    }

    #[tool(description = "Reads")]
    fn read(&self) -> String {
        self.run("read")
    }

    #[tool(description = "Writes")]
    fn write(&self) -> String {
        self.run("write")
    }

    #[tool(description = "Is nobody's business")]
    fn secret(&self) -> String {
        self.run("secret")
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

type Rmcp = StreamableHttpService<Tools, LocalSessionManager>;

/// With sessions and event streams.
fn events() -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default()
}

/// Without sessions, answering in JSON.
fn json() -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
}

fn rmcp(config: StreamableHttpServerConfig, log: &Log) -> Rmcp {
    let log = log.clone();
    StreamableHttpService::new(move || Ok(Tools::new(log.clone())), Arc::default(), config)
}

async fn direct(service: Rmcp) -> Server {
    serve(guard().layer(service)).await
}

async fn nested(service: Rmcp) -> Server {
    let app = Router::new().nest_service("/mcp", guard().layer(service));
    Server::run(|listener| axum::serve(listener, app).into_future()).await
}

type Client = RunningService<RoleClient, ClientConfig>;

async fn connect(server: &Server) -> Client {
    let transport = StreamableHttpClientTransport::from_uri(server.url("/mcp"));
    soon(ClientConfig::default().serve(transport))
        .await
        .unwrap()
}

/// Calls a tool: whether it is refused, and what the answer says.
async fn call(client: &Client, tool: &'static str) -> (bool, String) {
    let result = soon(client.call_tool(CallToolRequestParams::new(tool)))
        .await
        .unwrap();
    let text = &result.content[0].as_text().unwrap().text;
    (result.is_error == Some(true), text.clone())
}

async fn check(client: Client, log: &Log) {
    let listed = soon(client.list_all_tools()).await.unwrap();
    let mut names: Vec<_> = listed.iter().map(|tool| tool.name.to_string()).collect();
    names.sort_unstable();
    assert_eq!(names, ["read", "write"]);

    // Refusals in between, all in one session.
    for _ in 0..3 {
        assert_eq!(
            call(&client, "read").await,
            (false, "read has run".to_owned())
        );
        let (refused, text) = call(&client, "write").await;
        assert!(refused && text.contains("Writing is for people."), "{text}");
        let (refused, text) = call(&client, "secret").await;
        assert!(refused && !text.contains("has run"), "{text}");
    }
    assert_eq!(log.take(), ["read"; 3]);
    soon(client.cancel()).await.unwrap();
}

#[tokio::test]
async fn events_direct() {
    let log = Log::default();
    let server = direct(rmcp(events(), &log)).await;
    check(connect(&server).await, &log).await;
}

#[tokio::test]
async fn events_nested() {
    let log = Log::default();
    let server = nested(rmcp(events(), &log)).await;
    check(connect(&server).await, &log).await;
}

#[tokio::test]
async fn json_direct() {
    let log = Log::default();
    let server = direct(rmcp(json(), &log)).await;
    check(connect(&server).await, &log).await;
}

#[tokio::test]
async fn json_nested() {
    let log = Log::default();
    let server = nested(rmcp(json(), &log)).await;
    check(connect(&server).await, &log).await;
}

/// The protocol of 2026-07-28: no session, and headers that mirror the body.
#[tokio::test]
async fn modern_client() {
    for config in [events(), json()] {
        let log = Log::default();
        let server = direct(rmcp(config, &log)).await;
        let transport = StreamableHttpClientTransport::from_uri(server.url("/mcp"));
        let lifecycle = ClientLifecycleMode::Discover {
            preferred_versions: vec![rmcp::model::ProtocolVersion::V_2026_07_28],
        };
        let client = rmcp::service::serve_client_with_lifecycle(
            ClientConfig::default(),
            transport,
            lifecycle,
        );
        check(soon(client).await.unwrap(), &log).await;
    }
}
