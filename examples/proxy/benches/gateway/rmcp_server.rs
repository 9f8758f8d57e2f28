//! A server by the Rust SDK, which answers a call with the text that it was given.

use std::{net::SocketAddr, sync::Arc};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
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
use tokio::{net::TcpListener, runtime};
use tower::BoxError;

/// Answers on one thread, like the server that does nothing.
pub(crate) fn run(address: &str) -> Result<(), BoxError> {
    let address: SocketAddr = address.parse()?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(address))
}

async fn serve(address: SocketAddr) -> Result<(), BoxError> {
    // No sessions and no streams: the least that such a server has to do for a call.
    let service = StreamableHttpService::new(
        || Ok(Server),
        Arc::new(NeverSessionManager::default()),
        StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true),
    );
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let http = auto::Builder::new(TokioExecutor::new());
            // Whoever asks may go at any time.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[derive(Clone)]
struct Server;

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    /// Of whose tools a policy hides the last.
    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let names = (0..20).map(|number| format!("tool_{number}"));
        let names = names.chain(["secret_tool".to_owned()]);
        let tools = names.map(|name| Tool::new(name, "Gives its text back.", JsonObject::new()));
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let content = arguments
            .get("content")
            .and_then(|content| content.as_str());
        let content = content.unwrap_or_default().to_owned();
        Ok(CallToolResult::success(vec![ContentBlock::text(content)]).into())
    }
}
