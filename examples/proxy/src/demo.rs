//! What runs when nothing is asked for: an MCP server that would be dangerous
//! if it did anything, behind a policy, and three commands to try on it.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use http::{HeaderValue, Request, header::ACCEPT};
use mcp_policy::Policy;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::{
    access::Access, cli::DEFAULT_LISTEN, failure::Failure, serve, server, upstream::Target,
};

const POLICY: &str = include_str!("../demo-policy.json");
const TOOLS: &str = include_str!("../demo-tools.json");

/// Starts the server, the gateway in front of it, and says what to try.
pub(crate) async fn run(listen: Option<SocketAddr>) -> Result<ExitCode, Failure> {
    let listen = listen.unwrap_or(DEFAULT_LISTEN);
    if !listen.ip().is_loopback() {
        return Err(Failure::usage(
            "the demo listens on a loopback address only, such as 127.0.0.1:0",
        ));
    }
    let policy: Policy = POLICY
        .parse()
        .map_err(|error| Failure::policy(Path::new("demo-policy.json"), error))?;
    let listener = serve::bind(
        listen,
        "start the demo with --listen 127.0.0.1:0 to have a free port picked",
    )
    .await?;
    let upstream = start_server().await?;
    let target = Target::new(&format!("http://{upstream}/mcp"), []).map_err(Failure::Start)?;
    let access = Access::new(listen);
    serve::guard(listener, policy, access, target, |address| {
        // Without a stdout there is nobody to tell, but the demo still works.
        let _ = io::stdout().write_all(guide(address).as_bytes());
    })
    .await
}

fn guide(address: SocketAddr) -> String {
    let curl = format!("curl -s http://{address}/mcp -H 'content-type: application/json' -d");
    format!(
        r#"
A workflow server with 13 tools runs behind a policy (examples/proxy/demo-policy.json).
It only pretends: each call that reaches it is printed here as `executed: NAME`.
Try in another terminal:

1. What may be seen: 11 tools; run_shell and delete_execution_logs are not among them.
   {curl} '{{"jsonrpc":"2.0","id":1,"method":"tools/list"}}'

2. A call that is allowed: answered by the server, and printed here.
   {curl} '{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"list_executions","arguments":{{"namespace":"shop"}}}}}}'

3. A call that is denied: the answer says why, and nothing is printed here.
   {curl} '{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"refund_payment","arguments":{{"payment_id":"p-1","amount":900}}}}}}'

ctrl-c ends it.
"#
    )
}

/// Binds the demo server to a free port and serves it until the end.
async fn start_server() -> Result<SocketAddr, Failure> {
    let failed =
        |error: io::Error| Failure::start(format!("cannot start the demo server: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let server = Server {
        tools: serde_json::from_str(TOOLS).map_err(|error| failed(error.into()))?,
    };
    let mcp = StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(NeverSessionManager::default()),
        // No sessions and no streams, so that plain curl is enough.
        StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true),
    );
    // rmcp wants both types named, which curl does not do by itself.
    let service = mcp.map_request(|mut request: Request<_>| {
        request.headers_mut().insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        request
    });
    tokio::spawn(server::serve(listener, service, async || {
        std::future::pending().await
    }));
    Ok(address)
}

/// The demo server: a table of tools and what each of them answers.
#[derive(Clone)]
struct Server {
    tools: Arc<[Entry]>,
}

#[derive(serde::Deserialize)]
struct Entry {
    tool: Tool,
    answer: String,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools.iter().map(|entry| entry.tool.clone()).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let entry = self
            .tools
            .iter()
            .find(|entry| entry.tool.name == request.name)
            .ok_or_else(|| ErrorData::invalid_params("Unknown tool", None))?;
        // The name out of the table; what the caller sent is not repeated.
        let _ = writeln!(io::stdout(), "executed: {}", entry.tool.name);
        Ok(CallToolResult::success(vec![ContentBlock::text(entry.answer.clone())]).into())
    }
}
