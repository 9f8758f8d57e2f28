//! rmcp as a client of the interop suite. Usage and output: see `tests/interop/README.md`.

use std::error::Error;
use std::io::{BufRead as _, Write as _};

use rmcp::model::{CallToolRequestParams, CallToolResult, ClientConfig, ProtocolVersion};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientLifecycleMode, ClientServiceExt as _};
use serde_json::{Value, json};

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

    let client = ClientConfig::default()
        .serve_with_lifecycle(StreamableHttpClientTransport::from_uri(url), lifecycle)
        .await?;
    let server = client.peer_info().ok_or("connected, but to whom?")?;
    report(&json!({ "event": "connected", "protocol": server.protocol_version }))?;

    let tools = client.list_all_tools().await?;
    let names: Vec<_> = tools.iter().map(|tool| &tool.name).collect();
    report(&json!({ "event": "tools", "names": names }))?;

    for line in std::io::stdin().lock().lines() {
        let call: CallToolRequestParams = serde_json::from_str(&line?)?;
        report(&match client.call_tool(call).await {
            Ok(result) => describe(result),
            Err(error) => json!({ "event": "error", "text": error.to_string() }),
        })?;
    }

    client.cancel().await?;
    Ok(())
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
