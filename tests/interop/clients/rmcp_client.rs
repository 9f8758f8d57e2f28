//! rmcp as a client of the interop suite. Usage and output: see `tests/interop/README.md`.

use std::collections::VecDeque;
use std::error::Error;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientConfig, ElicitRequestParams, ElicitResult,
    ErrorData, ProtocolVersion,
};
use rmcp::service::{RequestContext, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt as _, RoleClient};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin, stdin};

/// A call to make.
#[derive(Deserialize)]
struct Line {
    #[serde(flatten)]
    call: CallToolRequestParams,
    #[serde(default)]
    answers: VecDeque<Value>,
    #[serde(default)]
    abort: bool,
}

/// A client, and what is left to answer during the call that is being made.
struct User {
    config: ClientConfig,
    answers: Mutex<VecDeque<Value>>,
}

impl ClientHandler for User {
    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let internal = |error: String| ErrorData::internal_error(error, None);
        report(&json!({ "event": "elicited", "params": request }))
            .map_err(|error| internal(error.to_string()))?;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.pop_front().unwrap_or_default();
        serde_json::from_value(answer).map_err(|error| internal(error.to_string()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the first argument is a URL")?;
    let lifecycle = match arguments.next().as_deref() {
        Some("legacy") => ClientLifecycleMode::Initialize,
        Some("auto") => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: None,
        },
        other => return Err(format!("unknown mode {other:?}").into()),
    };

    let user = User {
        config: config()?,
        answers: Mutex::default(),
    };
    let client = user
        .serve_with_lifecycle(StreamableHttpClientTransport::from_uri(url), lifecycle)
        .await?;
    let server = client.peer_info().ok_or("connected, but to whom?")?;
    report(&json!({ "event": "connected", "protocol": server.protocol_version }))?;

    let tools = client.list_all_tools().await?;
    let names: Vec<_> = tools.iter().map(|tool| &tool.name).collect();
    report(&json!({ "event": "tools", "names": names }))?;

    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        report(&call(&client, serde_json::from_str(&line)?, &mut lines).await?)?;
    }

    client.cancel().await?;
    Ok(())
}

/// What the environment says of the client.
fn config() -> Result<ClientConfig, Box<dyn Error>> {
    let mut config = ClientConfig::default();
    if let Ok(version) = std::env::var("PROTOCOL") {
        config.protocol_version = serde_json::from_value(version.into())?;
    }
    if let Ok(modes) = std::env::var("ELICITATION") {
        let modes: serde_json::Map<_, _> = modes
            .split(' ')
            .map(|mode| (mode.to_owned(), json!({})))
            .collect();
        config.capabilities = serde_json::from_value(json!({ "elicitation": modes }))?;
    }
    Ok(config)
}

/// Makes one call, until it is answered or the next line aborts it.
async fn call(
    client: &RunningService<RoleClient, User>,
    line: Line,
    lines: &mut Lines<BufReader<Stdin>>,
) -> Result<Value, Box<dyn Error>> {
    let Line {
        call,
        answers,
        abort,
    } = line;
    *client
        .service()
        .answers
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = answers;
    let calling = client.call_tool(call);
    let answer = tokio::select! {
        answer = calling => answer,
        _ = lines.next_line(), if abort => {
            return Ok(json!({ "event": "error", "text": "aborted" }));
        }
    };
    Ok(match answer {
        Ok(result) => describe(result),
        Err(ServiceError::McpError(error)) => json!({
            "event": "error",
            "text": error.message,
            "code": error.code,
            "elicitations": error.data.as_ref().and_then(|data| data.get("elicitations")),
        }),
        Err(error) => json!({ "event": "error", "text": error.to_string() }),
    })
}

fn describe(result: CallToolResult) -> Value {
    let text: Vec<_> = result
        .content
        .iter()
        .filter_map(|block| Some(block.as_text()?.text.as_str()))
        .collect();
    json!({
        "event": "result",
        "isError": result.is_error.unwrap_or(false),
        "text": text.join("\n"),
        "meta": result.meta.unwrap_or_default(),
    })
}

fn report(line: &Value) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}
