//! A small MCP client, which asks a server for what it offers and leaves.
//!
//! It begins with the handshake of 2025-11-25, which every server but the newest
//! knows; a server that does not is asked in the way of 2026-07-28. Everything
//! that the server says is bounded, and what it says of its tools is kept as it was
//! said: a number, or a key that is there twice, would be another one once it is read.

mod answer;
mod definitions;
mod http;
mod stdio;

use std::{collections::HashSet, ffi::OsString, fmt, process::Stdio, time::Duration};

use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::timeout;

use self::answer::{Answer, Hello, Page};
pub(crate) use self::definitions::Definitions;
use crate::{child::Program, names::shown, upstream::Target};

/// For its tools: a server may have to be downloaded and started first.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what is only counted, afterwards.
const PATIENCE_FOR_COUNTS: Duration = Duration::from_secs(10);

/// The last version with a handshake, and the first without.
const WITH_HANDSHAKE: &str = "2025-11-25";
const WITHOUT_HANDSHAKE: &str = "2026-07-28";

/// The longest answer, as long as the library's longest.
const LONGEST_ANSWER: usize = 32 << 20;
/// Pages of a list, and entries and bytes on all of them.
const MOST_PAGES: usize = 1_000;
const MOST_ENTRIES: usize = 100_000;
const MOST_BYTES: usize = 64 << 20;

/// Everything that a server offers.
pub(crate) struct Offer {
    /// The tools, as they were said.
    pub(crate) tools: Vec<Box<RawValue>>,
    /// The JSON string with what the server tells models, if it does.
    pub(crate) instructions: Option<Box<RawValue>>,
    /// How many there are; `None` if the server would not say.
    pub(crate) prompts: Option<usize>,
    pub(crate) resources: Option<usize>,
    pub(crate) resource_templates: Option<usize>,
}

/// The tools of a server that speaks streamable HTTP.
pub(crate) async fn ask_upstream(target: Target) -> Result<Vec<Value>, String> {
    let name = target.authority().to_owned();
    tools_of(Client::over_http(target)?, &name).await
}

/// The tools of a server that is started for it and speaks stdio.
pub(crate) async fn ask_command(command: &[OsString]) -> Result<Vec<Value>, String> {
    let connection = stdio::Connection::start(&command.to_vec().into(), Stdio::inherit())?;
    let name = connection.name().to_owned();
    tools_of(Client::Stdio(Box::new(connection)), &name).await
}

async fn tools_of(mut client: Client, name: &str) -> Result<Vec<Value>, String> {
    let tools = in_time(client.tools()).await;
    client.leave().await;
    read(tools.map_err(|wrong| about(name, &wrong))?)
}

/// Everything that a server offers that speaks streamable HTTP. The error repeats
/// nothing that the server says.
pub(crate) async fn everything_of_upstream(target: Target) -> Result<Offer, String> {
    offer_of(Client::over_http(target)?).await
}

/// Everything that a server offers that is started for it and speaks stdio. The error
/// repeats nothing that the server says.
pub(crate) async fn everything_of_command(
    program: &Program,
    stderr: Stdio,
) -> Result<Offer, String> {
    let connection = stdio::Connection::start(program, stderr)?;
    offer_of(Client::Stdio(Box::new(connection))).await
}

async fn offer_of(mut client: Client) -> Result<Offer, String> {
    let offer = client.everything().await;
    client.leave().await;
    offer.map_err(|wrong| wrong.without_its_words())
}

fn read(tools: Vec<Box<RawValue>>) -> Result<Vec<Value>, String> {
    let values = tools.iter().map(|tool| serde_json::from_str(tool.get()));
    let values: Result<_, _> = values.collect();
    values.map_err(|error| format!("a tool cannot be read: {error}"))
}

fn about(name: &str, wrong: &Wrong) -> String {
    match wrong {
        Wrong::Late => format!("`{name}` {wrong}"),
        _ => format!("`{name}` cannot be asked for its tools: {wrong}"),
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Wrong>>) -> Result<T, Wrong> {
    timeout(PATIENCE, asked).await.unwrap_or(Err(Wrong::Late))
}

/// Why there is no result.
enum Wrong {
    /// The server says no.
    Refused {
        code: Option<i64>,
        text: Option<String>,
    },
    /// There is no answer that could be understood.
    Broken(String),
    /// It took too long.
    Late,
}

impl Wrong {
    /// A server can repeat in its error what it was given to authenticate with.
    fn without_its_words(&self) -> String {
        match self {
            Self::Refused {
                code: Some(code), ..
            } => format!("it refuses, with the error {code}"),
            Self::Refused { code: None, .. } => "it refuses".to_owned(),
            Self::Broken(_) | Self::Late => self.to_string(),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { text, .. } => {
                let text = text.as_deref().unwrap_or("it does not say why");
                write!(f, "it refuses: {}", shown(text))
            }
            Self::Broken(text) => f.write_str(text),
            Self::Late => f.write_str("did not list its tools within 60 s"),
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
    fn over_http(target: Target) -> Result<Self, String> {
        Ok(Self::Http(Box::new(http::Connection::new(target)?)))
    }

    async fn tools(&mut self) -> Result<Vec<Box<RawValue>>, Wrong> {
        let (era, _) = self.begin().await?;
        self.list(List::Tools, era).await
    }

    async fn everything(&mut self) -> Result<Offer, Wrong> {
        let (era, hello, tools) = in_time(self.hello_and_tools()).await?;
        let mut offer = Offer {
            tools,
            instructions: hello.instructions.clone(),
            prompts: None,
            resources: None,
            resource_templates: None,
        };
        // Its tools are known; the rest is not worth to lose them.
        let _ = timeout(PATIENCE_FOR_COUNTS, self.count(&hello, era, &mut offer)).await;
        Ok(offer)
    }

    async fn hello_and_tools(&mut self) -> Result<(Era, Hello, Vec<Box<RawValue>>), Wrong> {
        let (era, hello) = self.begin().await?;
        let hello = match era {
            Era::Legacy => hello,
            Era::Modern => self.discover().await,
        };
        let tools = match self.list(List::Tools, era).await {
            // It has others things, and says so.
            Err(Wrong::Refused { .. }) if hello.offers("tools") == Some(false) => Vec::new(),
            tools => tools?,
        };
        Ok((era, hello, tools))
    }

    /// Counts what else there is, as far as the server says so.
    async fn count(&mut self, hello: &Hello, era: Era, offer: &mut Offer) {
        for (list, capability, count) in [
            (List::Prompts, "prompts", &mut offer.prompts),
            (List::Resources, "resources", &mut offer.resources),
            (
                List::ResourceTemplates,
                "resources",
                &mut offer.resource_templates,
            ),
        ] {
            *count = match hello.offers(capability) {
                Some(false) => Some(0),
                _ => match self.list(list, era).await {
                    Ok(entries) => Some(entries.len()),
                    Err(Wrong::Refused { .. }) => None,
                    // Nothing more is to be had from it.
                    Err(_) => return,
                },
            };
        }
    }

    /// What the server says first, if it knows the handshake.
    async fn begin(&mut self) -> Result<(Era, Hello), Wrong> {
        match self.shake_hands().await {
            Ok(hello) => Ok((Era::Legacy, hello)),
            // One that it does not understand, like `initialize` itself.
            Err(Wrong::Refused { .. }) => Ok((Era::Modern, Hello::default())),
            Err(broken) => Err(broken),
        }
    }

    /// What a server says of itself that knows no handshake, if it does.
    async fn discover(&mut self) -> Hello {
        let params = parameters(Era::Modern).into();
        match self.request("server/discover", params, Era::Modern).await {
            Ok(result) => Hello::read(&result).unwrap_or_default(),
            Err(_) => Hello::default(),
        }
    }

    /// All pages of a list.
    async fn list(&mut self, list: List, era: Era) -> Result<Vec<Box<RawValue>>, Wrong> {
        let what = list.member();
        let mut entries = Vec::new();
        let mut bytes = 0_usize;
        let mut cursors = HashSet::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut params = parameters(era);
            if let Some(cursor) = &cursor {
                params.insert("cursor".to_owned(), json!(cursor));
            }
            let result = self.request(list.method(), params.into(), era).await?;
            let page = Page::read(&result, list)?;
            entries.extend(page.entries);
            bytes = bytes.saturating_add(result.get().len());
            if entries.len() > MOST_ENTRIES {
                return Err(broken(format!("it has more than {MOST_ENTRIES} {what}")));
            }
            if bytes > MOST_BYTES {
                let most = MOST_BYTES >> 20;
                return Err(broken(format!(
                    "its list of {what} is larger than {most} MiB"
                )));
            }
            match page.next {
                None => return Ok(entries),
                Some(next) if !cursors.insert(next.clone()) => {
                    return Err(broken(format!("its list of {what} goes in circles")));
                }
                Some(next) => cursor = Some(next),
            }
        }
        Err(broken(format!(
            "its list of {what} has more than {MOST_PAGES} pages"
        )))
    }

    async fn shake_hands(&mut self) -> Result<Hello, Wrong> {
        let params = json!({
            "protocolVersion": WITH_HANDSHAKE, "capabilities": {}, "clientInfo": client_info(),
        });
        let result = self.request("initialize", params, Era::Legacy).await?;
        let hello = Hello::read(&result)?;
        if let (Self::Http(connection), Some(version)) = (&mut *self, hello.version()) {
            connection.agree_on(version);
        }
        let message = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        match self {
            Self::Http(connection) => connection.notify(&message).await?,
            Self::Stdio(connection) => connection.send(&message).await?,
        }
        Ok(hello)
    }

    /// Sends a request and gives its result.
    async fn request(
        &mut self,
        method: &str,
        params: Value,
        era: Era,
    ) -> Result<Box<RawValue>, Wrong> {
        let answer = match self {
            Self::Http(connection) => connection.request(method, params, era).await?,
            Self::Stdio(connection) => connection.request(method, params).await?,
        };
        answer.result()
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

/// The lists that a server has.
#[derive(Clone, Copy)]
enum List {
    Tools,
    Prompts,
    Resources,
    ResourceTemplates,
}

impl List {
    fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::ResourceTemplates => "resources/templates/list",
        }
    }

    /// Where the list is in the result.
    fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
        }
    }
}
