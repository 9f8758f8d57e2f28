//! The `stdio` command: one policy between a client and a server that talk
//! over stdin and stdout.
//!
//! Nothing but messages goes to stdout.

use std::{
    pin::pin,
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use mcp_policy::{Caller, FromClient, FromServer, MessageConnection, MessageGuard};
use tokio::{
    io::{BufReader, Stdin, Stdout},
    process::{ChildStdin, ChildStdout},
    time::timeout,
};

use crate::{
    admin, audit,
    child::Server,
    cli::StdioArgs,
    failure::Failure,
    lines::{self, Line, LineWriter},
    message::{Message, method},
    policy,
    running::Reach,
    shutdown::Signals,
    state::State,
};

/// The longest line of the client's, as long as the library's longest request.
const CLIENT_LINE: u64 = 4 << 20;
/// The longest line of the server's, as long as the library's longest answer.
const SERVER_LINE: u64 = 32 << 20;
/// How long the server may take to end, once nobody talks to it any more.
const GRACE: Duration = Duration::from_secs(2);

/// What somebody can do about a server that does not go on.
const SEE_WHY: &str = "what it wrote to stderr is above; run its command by itself to see more";

/// Runs until one side ends it, or a signal.
pub(crate) async fn run(args: &StdioArgs) -> Result<ExitCode, Failure> {
    let state = State::parse(&args.state)?;
    let news = admin::News::default();
    let policy = policy::watch(&args.policy, state.keeps(), admin::warn_of_nobody, &news)?;
    let records = audit::open(args.audit.audit.as_ref(), args.audit.audit_keep)?;
    let mut signals = Signals::listen()
        .map_err(|error| Failure::start(format!("cannot listen to signals: {error}")))?;
    let (mut server, stdin, stdout) =
        Server::start(&args.command, Stdio::inherit()).map_err(Failure::Start)?;
    let name = match &args.server_name {
        Some(name) => name.clone(),
        None => Reach::Command(Box::new(args.command.clone().into())).told(),
    };
    let mut guard = MessageGuard::from_source(policy).server_name(name.as_str());
    if let Some(records) = records.clone() {
        guard = guard.audit(records);
    }
    let stores = state.open(&name, None).await?;
    let opened = stores.opened();
    guard = stores.under_guard(guard);
    let guard = Guard {
        connection: guard.connect(Caller::local()),
        client: LineWriter::new(tokio::io::stdout()),
    };
    let ended = tokio::select! {
        () = signals.next() => Ok(()),
        ended = session(&mut server, &guard, stdin, stdout) => ended,
    };
    // Waited for, so that whoever starts the server again finds what it locked.
    server.kill();
    let _ = timeout(GRACE, server.end()).await;
    // With it end the calls that nobody answers any more.
    drop(guard);
    audit::close(records).await;
    opened.close().await;
    ended.map(|()| ExitCode::SUCCESS)
}

/// Carries messages both ways until the client or the server is done.
async fn session(
    server: &mut Server,
    guard: &Guard,
    stdin: ChildStdin,
    stdout: ChildStdout,
) -> Result<(), Failure> {
    let mut from_client = pin!(guard.pass_to_server(tokio::io::stdin(), stdin));
    let mut from_server = pin!(guard.pass_to_client(stdout));
    let mut news = pin!(guard.tell_news());
    let mut silent = false;
    let done = tokio::select! {
        // A client that left explains a server that ends at the same time.
        biased;
        done = &mut from_client => done?,
        said = &mut from_server => {
            said?;
            silent = true;
            Done::Server
        }
        _ = server.end() => Done::Server,
        failure = &mut news => return Err(failure),
    };
    // What the server has said by now still arrives.
    let rest = async { if silent { Ok(()) } else { from_server.await } };
    let ended = timeout(GRACE, async { tokio::join!(rest, server.end()) }).await;
    match (done, ended) {
        (_, Ok((Err(failure), _))) => Err(failure),
        (Done::Client, Ok((_, Ok(status)))) if status.success() => Ok(()),
        (Done::Client, Err(_)) => {
            tracing::warn!(
                after = GRACE.as_secs(),
                "the server did not end after the client left, and is killed"
            );
            Ok(())
        }
        (_, Ok((_, Ok(status)))) => Err(ended_early(server, status)),
        (_, Ok((_, Err(error)))) => Err(Failure::start(format!(
            "cannot tell how `{}` ended: {error}",
            server.name()
        ))),
        (Done::Server, Err(_)) => Err(match timeout(Duration::ZERO, server.end()).await {
            Ok(Ok(status)) => ended_early(server, status),
            _ => Failure::start(format!(
                "`{}` no longer talks to the client: {SEE_WHY}",
                server.name()
            )),
        }),
    }
}

/// Whose end it was.
#[derive(Clone, Copy, Debug)]
enum Done {
    /// The client closed our stdin.
    Client,
    /// The server ended, or takes or says nothing any more.
    Server,
}

fn ended_early(server: &Server, status: ExitStatus) -> Failure {
    Failure::start(format!(
        "the server `{}` ended: {status}; {SEE_WHY}",
        server.name()
    ))
}

/// Judges what comes from either side.
struct Guard {
    connection: MessageConnection,
    client: LineWriter<Stdout>,
}

impl Guard {
    /// Carries the client's messages until there are no more, and closes the
    /// server's stdin then.
    async fn pass_to_server(&self, client: Stdin, server: ChildStdin) -> Result<Done, Failure> {
        let mut client = BufReader::new(client);
        let server = LineWriter::new(server);
        loop {
            let line = lines::next(&mut client, CLIENT_LINE)
                .await
                .map_err(|error| Failure::start(format!("cannot read from the client: {error}")))?;
            let message = match line {
                None => return Ok(Done::Client),
                // Who would be answered stands anywhere in it.
                Some(Line::TooLong) => {
                    tracing::warn!(
                        limit = CLIENT_LINE,
                        "a line of the client's is too long and was dropped"
                    );
                    continue;
                }
                Some(Line::Whole(message)) => message,
            };
            let message = match self.connection.from_client(&message).await {
                FromClient::Forward => message,
                FromClient::Replace(message) => message,
                FromClient::Refuse(answer) => {
                    tracing::debug!(method = method(&message), "answered in the server's place");
                    self.tell_client(answer).await?;
                    continue;
                }
                _ => {
                    tracing::warn!(
                        method = method(&message),
                        "a message of the client's is not allowed or not MCP and was dropped"
                    );
                    continue;
                }
            };
            if server.write(message).await.is_err() {
                return Ok(Done::Server);
            }
        }
    }

    /// Carries the server's messages until there are no more.
    async fn pass_to_client(&self, server: ChildStdout) -> Result<(), Failure> {
        let mut server = BufReader::new(server);
        loop {
            let line = lines::next(&mut server, SERVER_LINE)
                .await
                .map_err(|error| Failure::start(format!("cannot read from the server: {error}")))?;
            let message = match line {
                None => return Ok(()),
                Some(Line::TooLong) => {
                    tracing::warn!(
                        limit = SERVER_LINE,
                        "a line of the server's is too long and was dropped"
                    );
                    // Whose answer it was stands anywhere in it.
                    for error in self.connection.from_server_too_large().await {
                        self.tell_client(error).await?;
                    }
                    continue;
                }
                Some(Line::Whole(message)) => message,
            };
            match self.connection.from_server(&message).await {
                FromServer::Forward if is_message(&message) => self.tell_client(message).await?,
                FromServer::Replace(other) if is_message(&other) => self.tell_client(other).await?,
                _ => tracing::warn!(
                    method = method(&message),
                    "a line of the server's is not MCP and was dropped"
                ),
            }
        }
    }

    /// Tells the client of what another policy changes, until that fails.
    async fn tell_news(&self) -> Failure {
        loop {
            let news = self.connection.notification().await;
            if let Err(failure) = self.tell_client(news).await {
                return failure;
            }
        }
    }

    async fn tell_client(&self, message: Vec<u8>) -> Result<(), Failure> {
        self.client
            .write(message)
            .await
            .map_err(|error| Failure::start(format!("cannot write to the client: {error}")))
    }
}

/// Whether this is a JSON-RPC message, and not a line of a JSON log, say, which
/// the guard has nothing against.
fn is_message(line: &[u8]) -> bool {
    Message::read(line).is_some()
}
