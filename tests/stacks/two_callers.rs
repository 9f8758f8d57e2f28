//! Two callers with a policy each, on one server that has sessions and pages.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use mcp_policy::{Caller, Policy, PolicyLayer};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler};
use serde_json::{Value, json};
use tower::Layer;

use crate::support::mcp::Log;
use crate::support::net::{Answer, Server, post_message, send, serve};

/// Two to a page.
const TOOLS: [&str; 6] = ["read_a", "wipe_a", "wipe_b", "wipe_c", "read_b", "wipe_d"];

#[derive(Clone)]
struct Pages(Log);

impl ServerHandler for Pages {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let start: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let tools = TOOLS[start..start + 2]
            .iter()
            .map(|name| Tool::new(*name, "", JsonObject::new()))
            .collect();
        let mut page = ListToolsResult::with_all_items(tools);
        page.next_cursor = (start + 2 < TOOLS.len()).then(|| (start + 2).to_string());
        Ok(page)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.0.push(&request.name);
        Ok(CallToolResult::success(vec![ContentBlock::text("has run")]).into())
    }
}

async fn server(log: &Log) -> Server {
    let everything: Policy = r#"{"version":"1","default":"allow"}"#.parse().unwrap();
    let reading = r#"{"version":"1","default":"deny","hide":["wipe_*"],"tools":{"read_*":{}}}"#;
    let reading: Policy = reading.parse().unwrap();
    let layer = PolicyLayer::from_source(move |caller: &Caller| match caller.id() {
        "alice" => Some(everything.clone()),
        "bob" => Some(reading.clone()),
        _ => None,
    })
    .caller_with(|head: &Parts| {
        let user = head.headers.get("x-user")?.to_str().ok()?;
        Some(Caller::new(user))
    });
    let pages = Pages(log.clone());
    let service: StreamableHttpService<Pages, LocalSessionManager> = StreamableHttpService::new(
        move || Ok(pages.clone()),
        Arc::default(),
        StreamableHttpServerConfig::default(),
    );
    serve(layer.layer(service)).await
}

/// What one user says to the server.
struct User<'s> {
    server: &'s Server,
    headers: HeaderMap,
}

impl<'s> User<'s> {
    /// Begins a session.
    async fn begin(server: &'s Server, name: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("x-user", name.parse().unwrap());
        let mut user = Self { server, headers };
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let answer = user.asks("initialize", params).await;
        let session = answer.headers["mcp-session-id"].clone();
        user.headers.insert("mcp-session-id", session);
        user.tells(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await;
        user
    }

    async fn tells(&self, message: Value) -> Answer {
        let mut request = post_message(&self.server.url("/mcp"), &message);
        request.headers_mut().extend(self.headers.clone());
        send(request).await
    }

    async fn asks(&self, method: &str, params: Value) -> Answer {
        self.tells(json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }))
            .await
    }

    async fn calls(&self, tool: &str) -> Answer {
        self.asks("tools/call", json!({ "name": tool })).await
    }

    /// The tools of every page.
    async fn pages(&self) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut params = json!({});
        loop {
            let answer = self.asks("tools/list", params).await;
            pages.push(answer.tools());
            match &answer.message()["result"]["nextCursor"] {
                Value::Null => return pages,
                cursor => params = json!({ "cursor": cursor }),
            }
        }
    }
}

#[tokio::test]
async fn each_sees_and_does_what_its_own_policy_allows() {
    let log = Log::default();
    let server = server(&log).await;
    let alice = User::begin(&server, "alice").await;
    let bob = User::begin(&server, "bob").await;
    assert_eq!(
        alice.pages().await,
        [
            ["read_a", "wipe_a"],
            ["wipe_b", "wipe_c"],
            ["read_b", "wipe_d"]
        ]
    );
    // A page may be empty; the cursor leads on.
    assert_eq!(bob.pages().await, [vec!["read_a"], vec![], vec!["read_b"]]);
    for tool in TOOLS {
        assert!(!alice.calls(tool).await.is_error());
        assert_eq!(bob.calls(tool).await.is_error(), tool.starts_with("wipe"));
    }
    let mut expected = TOOLS.to_vec();
    expected.extend(["read_a", "read_b"]);
    expected.sort_unstable();
    let mut ran = log.take();
    ran.sort_unstable();
    assert_eq!(ran, expected);
}

#[tokio::test]
async fn the_session_of_another_does_not_exist() {
    let log = Log::default();
    let server = server(&log).await;
    let alice = User::begin(&server, "alice").await;
    let mut bob = User::begin(&server, "bob").await;
    bob.headers = alice.headers.clone();
    bob.headers.insert("x-user", "bob".parse().unwrap());
    assert_eq!(bob.calls("read_a").await.status, StatusCode::NOT_FOUND);
    for method in [Method::GET, Method::DELETE] {
        let mut request = post_message(&server.url("/mcp"), &json!({}));
        *request.method_mut() = method;
        request.headers_mut().extend(bob.headers.clone());
        assert_eq!(send(request).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(log.take(), [""; 0]);
    // Alice has noticed nothing.
    assert!(!alice.calls("read_a").await.is_error());
}
