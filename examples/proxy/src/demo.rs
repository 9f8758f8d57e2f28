//! What runs when nothing is asked for: an MCP server that would be dangerous
//! if it did anything, behind a policy, and commands to try on it. Its tools are
//! those of a real workflow server, so that policies for that can be tried here.

mod guide;

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use http::{HeaderValue, Request, header::ACCEPT};
use mcp_policy::PolicyFile;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::{
    access::Access,
    admin::{self, Admin},
    cli::DemoArgs,
    failure::Failure,
    listening, policy,
    running::{self, PolicyNow, Reach},
    serve, server, stack,
    state::{Keeps, Stores},
    upstream::Target,
};

const POLICY: &str = include_str!("../demo-policy.json");
const POLICY_PATH: &str = "examples/proxy/demo-policy.json";
const TOOLS: &str = include_str!("../demo-tools.json");
/// What the server is called.
const NAME: &str = "demo";

/// Starts the server, the gateway in front of it, and says what to try.
pub(crate) async fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let listen = args.listen.unwrap_or(listening::DEFAULT_LISTEN);
    if !listen.ip().is_loopback() {
        return Err(Failure::usage(
            "the demo listens on a loopback address only, such as 127.0.0.1:0",
        ));
    }
    let admin = Admin::new(None)?;
    let path = args.policy.as_deref();
    let file = path.map(|path| {
        let (follows, news) = (admin.follows(), admin.news());
        policy::watch(path, Keeps::UntilItEnds, follows, news)
    });
    let file = file.transpose()?;
    let path = path.unwrap_or(Path::new(POLICY_PATH));
    let policy = match &file {
        Some(file) => file.current(),
        None => POLICY
            .parse()
            .map_err(|error| Failure::policy(path, error))?,
    };
    let tools: Arc<[Entry]> = serde_json::from_str(TOOLS).map_err(|error| failed(error.into()))?;
    let listener = listening::bind(
        listen,
        "start the demo with --listen 127.0.0.1:0 to have a free port picked",
    )
    .await?;
    let upstream = start_server(Arc::clone(&tools)).await?;
    let target = Target::new(&format!("http://{upstream}/mcp"), []).map_err(Failure::Start)?;
    let access = Access::new(listen);
    let recorded = Some(admin.shown_beside(None));
    let layer = match &file {
        Some(file) => stack::layer(file.clone(), NAME, recorded, Stores::default()),
        None => stack::layer(policy.clone(), NAME, recorded, Stores::default()),
    };
    let layer = admin.under(layer);
    let reach = Reach::Upstream(Box::new(target.clone()));
    let (own, own_path) = (policy.clone(), path.to_owned());
    let admin = admin.showing(running::alone_is(NAME.to_owned(), reach, move || {
        PolicyNow {
            path: own_path.clone(),
            is_in_file: file.is_some(),
            policy: file
                .as_ref()
                .map_or_else(|| own.clone(), PolicyFile::current),
            uses: Vec::new(),
        }
    }));
    let console = admin.open_at(bind_console(listen).await?, &access);
    serve::guard(listener, layer, access, target, |address| {
        let path = path.display().to_string();
        let guide = guide::text(address, &path, &policy, &tools, &console);
        // Without a stdout there is nobody to tell, but the demo still works.
        let _ = io::stdout().write_all(guide.as_bytes());
    })
    .await
}

/// The usual address of the console, or any port if that is taken, or if the demo is to
/// be at any port.
async fn bind_console(listen: SocketAddr) -> Result<TcpListener, Failure> {
    let any = SocketAddr::new(listen.ip(), 0);
    if listen.port() != 0
        && let Ok(listener) = TcpListener::bind(admin::DEFAULT_ADMIN).await
    {
        return Ok(listener);
    }
    listening::bind(any, "end a program that listens there").await
}

fn failed(error: io::Error) -> Failure {
    Failure::start(format!("cannot start the demo server: {error}"))
}

/// Binds the demo server to a free port and serves it until the end.
async fn start_server(tools: Arc<[Entry]>) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let server = Server { tools };
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
    /// What a caller could send; nobody looks at them here.
    arguments: JsonObject,
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
