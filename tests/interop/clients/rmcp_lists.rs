//! rmcp as a client that only lists tools. Usage and output: see
//! `tests/interop/README.md`.

use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use rmcp::model::{ClientConfig, Implementation};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientLifecycleMode, ClientServiceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [url, count, milliseconds] = &arguments[..] else {
        return Err("the arguments are a URL, a number of sessions and milliseconds".into());
    };
    let patience = Duration::from_millis(milliseconds.parse()?);
    let mut sessions = JoinSet::new();
    for session in 0..count.parse()? {
        let url = url.clone();
        sessions.spawn(async move {
            match list(url, session, patience).await {
                Ok(names) => json!({ "session": session, "names": names }),
                Err(error) => json!({ "session": session, "error": error.to_string() }),
            }
        });
    }
    while let Some(line) = sessions.join_next().await {
        let line: Value = line?;
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}

async fn list(
    url: String,
    session: usize,
    patience: Duration,
) -> Result<Vec<String>, Box<dyn Error + Send + Sync>> {
    let mut config = ClientConfig::default();
    config.client_info = Implementation::new(format!("session-{session}"), "1.0.0");
    let transport = StreamableHttpClientTransport::from_uri(url);
    let mode = ClientLifecycleMode::Initialize;
    let client = config.serve_with_lifecycle(transport, mode).await?;
    let listed = tokio::time::timeout(patience, client.list_tools(None)).await;
    let names = listed??.tools.into_iter().map(|tool| tool.name.to_string());
    let names = names.collect();
    client.cancel().await?;
    Ok(names)
}
