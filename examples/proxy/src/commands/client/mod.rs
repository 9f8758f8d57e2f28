//! A small MCP client, which asks a server for its tools and leaves.
//!
//! It begins with the handshake of 2025-11-25, which every server but the newest
//! knows; a server that does not is asked in the way of 2026-07-28. Everything
//! that the server says is bounded.

mod http;
mod stdio;

use std::{ffi::OsString, fmt, time::Duration};

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::show::shown;
use crate::upstream::Target;

/// For all of it: a server may have to be downloaded and started first.
const PATIENCE: Duration = Duration::from_secs(60);

/// The last version with a handshake, and the first without.
const WITH_HANDSHAKE: &str = "2025-11-25";
const WITHOUT_HANDSHAKE: &str = "2026-07-28";

/// The longest answer, as long as the library's longest.
const LONGEST_ANSWER: usize = 32 << 20;
/// Pages of a list, and tools on all of them.
const MOST_PAGES: usize = 1_000;
const MOST_TOOLS: usize = 100_000;

/// The tools of a server that speaks streamable HTTP.
pub(super) async fn ask_upstream(target: Target) -> Result<Vec<Value>, String> {
    let name = target.authority().to_owned();
    let mut client = Client::Http(Box::new(http::Connection::new(target)?));
    let tools = in_time(&name, client.tools()).await;
    client.leave().await;
    tools
}

/// The tools of a server that is started for it and speaks stdio.
pub(super) async fn ask_command(command: &[OsString]) -> Result<Vec<Value>, String> {
    let connection = stdio::Connection::start(command)?;
    let name = connection.name().to_owned();
    let mut client = Client::Stdio(Box::new(connection));
    let tools = in_time(&name, client.tools()).await;
    client.leave().await;
    tools
}

async fn in_time(
    name: &str,
    tools: impl Future<Output = Result<Vec<Value>, Wrong>>,
) -> Result<Vec<Value>, String> {
    match timeout(PATIENCE, tools).await {
        Ok(tools) => {
            tools.map_err(|wrong| format!("`{name}` cannot be asked for its tools: {wrong}"))
        }
        Err(_) => Err(format!("`{name}` did not list its tools within 60 s")),
    }
}

/// Why there is no result.
enum Wrong {
    /// The server says no.
    Refused(String),
    /// There is no answer that could be understood.
    Broken(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) => write!(f, "it refuses: {}", shown(text)),
            Self::Broken(text) => f.write_str(text),
        }
    }
}

fn broken(text: impl Into<String>) -> Wrong {
    Wrong::Broken(text.into())
}

/// How requests of one era are told from those of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Era {
    /// A handshake, and then requests of the version that it came to.
    Legacy,
    /// Every request says everything by itself.
    Modern,
}

/// A connection to a server.
enum Client {
    Http(Box<http::Connection>),
    Stdio(Box<stdio::Connection>),
}

impl Client {
    async fn tools(&mut self) -> Result<Vec<Value>, Wrong> {
        let era = match self.shake_hands().await {
            Ok(()) => Era::Legacy,
            // One that it does not understand, like `initialize` itself.
            Err(Wrong::Refused(_)) => Era::Modern,
            Err(broken) => return Err(broken),
        };
        let mut tools = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut params = parameters(era);
            if let Some(cursor) = &cursor {
                params.insert("cursor".to_owned(), json!(cursor));
            }
            let mut page = self.request("tools/list", params.into(), era).await?;
            let Some(Value::Array(more)) = page.get_mut("tools").map(Value::take) else {
                return Err(broken(
                    "what it answers to `tools/list` has no list `tools`",
                ));
            };
            tools.extend(more);
            if tools.len() > MOST_TOOLS {
                return Err(broken(format!("it has more than {MOST_TOOLS} tools")));
            }
            let next = page.get("nextCursor").and_then(Value::as_str);
            match next {
                None => return Ok(tools),
                Some(next) if cursor.as_deref() == Some(next) => {
                    return Err(broken("its list of tools goes in circles"));
                }
                Some(next) => cursor = Some(next.to_owned()),
            }
        }
        Err(broken(format!(
            "its list of tools has more than {MOST_PAGES} pages"
        )))
    }

    async fn shake_hands(&mut self) -> Result<(), Wrong> {
        let params = json!({
            "protocolVersion": WITH_HANDSHAKE, "capabilities": {}, "clientInfo": client_info(),
        });
        let result = self.request("initialize", params, Era::Legacy).await?;
        if let (Self::Http(connection), Some(version)) = (
            &mut *self,
            result.get("protocolVersion").and_then(Value::as_str),
        ) {
            connection.agree_on(version);
        }
        let message = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        match self {
            Self::Http(connection) => connection.notify(&message).await,
            Self::Stdio(connection) => connection.send(&message).await,
        }
    }

    /// Sends a request and gives its result.
    async fn request(&mut self, method: &str, params: Value, era: Era) -> Result<Value, Wrong> {
        let answer = match self {
            Self::Http(connection) => connection.request(method, params, era).await?,
            Self::Stdio(connection) => connection.request(method, params).await?,
        };
        result_of(answer)
    }

    async fn leave(self) {
        match self {
            Self::Http(connection) => connection.leave().await,
            Self::Stdio(connection) => connection.leave().await,
        }
    }
}

fn client_info() -> Value {
    json!({ "name": "mcp-policy-proxy", "version": env!("CARGO_PKG_VERSION") })
}

fn parameters(era: Era) -> Map<String, Value> {
    let mut params = Map::new();
    if era == Era::Modern {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": WITHOUT_HANDSHAKE,
            "io.modelcontextprotocol/clientInfo": client_info(),
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        params.insert("_meta".to_owned(), meta);
    }
    params
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// Whether a message answers the request with this id. Some servers keep every
/// id as text.
fn answers(message: &Value, id: u64) -> bool {
    let is_answer = message.get("result").is_some() || message.get("error").is_some();
    let own = message.get("id");
    let same = own.and_then(Value::as_u64) == Some(id)
        || own.and_then(Value::as_str) == Some(&id.to_string());
    is_answer && same
}

fn result_of(mut answer: Value) -> Result<Value, Wrong> {
    if let Some(error) = answer.get("error") {
        let text = error.get("message").and_then(Value::as_str);
        return Err(Wrong::Refused(
            text.unwrap_or("it does not say why").to_owned(),
        ));
    }
    match answer.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(broken("its answer has no result")),
    }
}
