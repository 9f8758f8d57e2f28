//! The same requests in front of rmcp's server.

use std::sync::Arc;

use mcp_policy::PolicyLayer;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::model::{
    GetPromptRequestParams, GetPromptResponse, GetPromptResult, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, ResourceContents, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use tower::Layer as _;

use crate::cases::{Answers, File, Target, check, executed_by};
use crate::support::mcp::Log;
use crate::support::net::serve;

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

    #[tool(description = "Is allowed")]
    fn safe(&self) -> String {
        self.run("safe")
    }

    #[tool(description = "Is denied")]
    fn danger(&self) -> String {
        self.run("danger")
    }

    #[tool(description = "Is not to be seen")]
    fn hidden(&self) -> String {
        self.run("hidden")
    }

    #[tool(description = "Is not named")]
    fn call_tool(&self) -> String {
        self.run("call_tool")
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder();
        let capabilities = capabilities
            .enable_tools()
            .enable_prompts()
            .enable_resources();
        ServerConfig::new(capabilities.build())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.log.push(&format!("prompt {}", request.name));
        Ok(GetPromptResult::new(Vec::new()).into())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.log.push(&format!("resource {}", request.uri));
        let text = ResourceContents::text("text", request.uri);
        Ok(ReadResourceResult::new(vec![text]).into())
    }
}

type Rmcp = StreamableHttpService<Tools, LocalSessionManager>;

fn rmcp(log: &Log) -> Rmcp {
    let log = log.clone();
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true);
    StreamableHttpService::new(move || Ok(Tools::new(log.clone())), Arc::default(), config)
}

/// Allowed requests by which this server executes nothing.
const REFUSED_BY_RMCP: &[&str] = &["completion for an allowed prompt"];

#[tokio::test]
async fn every_case_in_front_of_rmcp() {
    let file = File::read();
    let log = Log::default();
    let bare = Target::of(serve(rmcp(&log)).await, log);
    let mut faults = Vec::new();
    let mut fell_for = 0;
    for (name, policy) in &file.policies {
        let layer = PolicyLayer::new(policy.to_string().parse().unwrap());
        let log = Log::default();
        let guarded = Target::of(serve(layer.layer(rmcp(&log))).await, log);
        for case in file.cases.iter().filter(|case| case.is_for(name)) {
            let directly = executed_by(&bare, case).await;
            fell_for += usize::from(!case.executes && !directly.is_empty());
            let refused = case.executes && directly != case.expected();
            if refused != (case.executes && REFUSED_BY_RMCP.contains(&case.title.as_str())) {
                faults.push(format!("{}: directly it executes {directly:?}", case.title));
            } else if !refused {
                for fault in check(&guarded, case, Answers::OfTheLayer).await {
                    faults.push(format!("{} ({name}): {fault}", case.title));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // Without the layer much of it would have run, so that this can fail.
    assert!(fell_for > 50, "{fell_for}");
}
