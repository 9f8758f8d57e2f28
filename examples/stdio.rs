//! A server made with rmcp that speaks stdio, guarded in the same process.
//!
//! ```text
//! cargo run --example stdio
//! ```
//!
//! and type a message, for example:
//!
//! ```json
//! {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_everything"}}
//! ```

use futures::{SinkExt as _, StreamExt as _};
use mcp_policy::{Caller, FromClient, FromServer, MessageGuard, Policy};
use rmcp::model::{ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, ServiceExt as _, tool, tool_handler, tool_router};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};

type Error = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"{
    "version": "1",
    "default": "deny",
    "tools": {
        "time": {},
        "delete_everything": { "action": "deny", "reason": "Deleting is for people." },
        "debug_dump": { "action": "hide" }
    }
}"#;

/// Bytes of one message: nobody may fill the memory with a line that never ends.
const LONGEST_MESSAGE: usize = 4 << 20;

#[derive(Clone, Debug)]
struct Tools;

#[tool_router]
impl Tools {
    #[tool(description = "Tells the time")]
    fn time(&self) -> String {
        "high time".to_owned()
    }

    #[tool(description = "Deletes everything")]
    fn delete_everything(&self) -> String {
        "everything is gone".to_owned()
    }

    #[tool(description = "Shows what nobody should see")]
    fn debug_dump(&self) -> String {
        "the password is 1234".to_owned()
    }
}

#[tool_handler(router = Self::tool_router())]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

/// Serves the client on `input` and `output`, until it ends its input.
pub(crate) async fn serve(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> Result<(), Error> {
    let policy: Policy = POLICY.parse()?;
    let guard = MessageGuard::new(policy).connect(Caller::local());

    // The server believes that this is its client.
    let (server_side, our_side) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(async move {
        Tools
            .serve(server_side)
            .await?
            .waiting()
            .await
            .map_err(Error::from)
    });
    let (from_server, to_server) = tokio::io::split(our_side);

    let lines = || LinesCodec::new_with_max_length(LONGEST_MESSAGE);
    let mut from_client = FramedRead::new(input, lines());
    let mut to_client = FramedWrite::new(output, lines());
    let mut from_server = FramedRead::new(from_server, lines());
    let mut to_server = FramedWrite::new(to_server, lines());
    loop {
        tokio::select! {
            message = from_client.next() => {
                let Some(message) = message.transpose()? else { break };
                match guard.from_client(message.as_bytes()).await {
                    FromClient::Forward => to_server.send(message).await?,
                    FromClient::Replace(message) => to_server.send(String::from_utf8(message)?).await?,
                    FromClient::Refuse(answer) => to_client.send(String::from_utf8(answer)?).await?,
                    // Nobody waits for an answer to it.
                    _ => {}
                }
            }
            message = from_server.next() => {
                let Some(message) = message.transpose()? else { break };
                match guard.from_server(message.as_bytes()).await {
                    FromServer::Forward => to_client.send(message).await?,
                    FromServer::Replace(message) => to_client.send(String::from_utf8(message)?).await?,
                    _ => {}
                }
            }
        }
    }
    server.abort();
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    serve(tokio::io::stdin(), tokio::io::stdout()).await
}
