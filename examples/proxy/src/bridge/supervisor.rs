//! The life of one server: started, greeted, listened to, and not left behind.

use std::{pin::pin, process::Stdio, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::BufReader,
    process::{ChildStdin, ChildStdout},
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{
    routes::Call,
    routing,
    session::{Refused, Running, Session, error},
    stderr,
    streams::Inlet,
};
use crate::{
    child::Server,
    lines::{self, Line, LineWriter},
    message::{Kind, Message},
};

/// The longest line of the server's, as long as the library's longest answer.
const SERVER_LINE: u64 = 32 << 20;
/// What those who wait are told when one of them was answered with more.
const TOO_LONG: &str = "The server sent an answer that is too large to be checked, to this call or to \
                        another of the session. If this was a call, it may have run: do not repeat it \
                        blindly, but ask for less at a time.";
/// Messages that wait for the server to read them.
const INPUT: usize = 8;
/// How long a server may take to answer `initialize`: launchers such as `npx`
/// download it first.
const HANDSHAKE: Duration = Duration::from_secs(120);
/// How long a server may take to end once its stdin is closed.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// A server's answer to `initialize`.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) answer: Bytes,
    /// Whether it goes on from there. Else the answer is an error, and the
    /// server is ended.
    pub(super) is_taken: bool,
}

/// Starts the session's server and hands it the client's handshake.
pub(super) async fn start(session: &Arc<Session>) -> Result<Greeting, Refused> {
    let (input, mut inlet, number) = spawn(session)?;
    // There is room for it, and for what follows the answer.
    let _ = input.try_send(session.initialize.clone());
    let Ok(Some(answer)) = timeout(HANDSHAKE, inlet.next()).await else {
        session.server_gone(number, "The MCP server behind this proxy was ended.");
        return Err(Refused::new(format!(
            "The MCP server behind this proxy did not answer `initialize` within {} s, so it was \
             ended and the call was not made.",
            HANDSHAKE.as_secs()
        )));
    };
    let kind = Message::read(&answer).map(|message| message.kind);
    let is_taken = matches!(kind, Some(Kind::Answer { is_error, .. }) if !is_error)
        && session.is_greeted(number);
    if !is_taken {
        session.server_gone(number, "The MCP server behind this proxy was ended.");
    }
    Ok(Greeting { answer, is_taken })
}

/// Starts the process and what listens to it.
fn spawn(session: &Arc<Session>) -> Result<(mpsc::Sender<Bytes>, Inlet, u64), Refused> {
    let not_made = |why: &str| Refused::new(format!("The call was not made: {why}."));
    let initialize = Message::read(&session.initialize).map(|message| message.kind);
    let Some(Kind::Request { id, raw_id, .. }) = initialize else {
        return Err(not_made("the session did not begin with `initialize`"));
    };
    if session.state().closed {
        return Err(not_made("the session was ended"));
    }
    let Some(counted) = session.shared.process_of(&session.caller) else {
        return Err(not_made(
            "too many servers are about to end; try again in some seconds",
        ));
    };
    let started = Instant::now();
    let process = Server::start_program(&session.shared.program, stderr_of(session));
    let mut state = session.state();
    let (server, stdin, stdout) = match process {
        Ok(_) if state.closed => return Err(not_made("the session was ended")),
        Ok(process) => process,
        Err(text) => {
            // Where it is on this machine is not the client's business.
            tracing::warn!("{text}");
            state.backoff.ended(started);
            return Err(not_made(
                "the MCP server behind this proxy cannot be started",
            ));
        }
    };
    let (_, answer) = state.routes.wait(Call {
        id,
        raw_id,
        progress: None,
        streams: false,
    })?;
    let (input, lines) = mpsc::channel(INPUT);
    let (stop, stopped) = oneshot::channel();
    state.servers = state.servers.saturating_add(1);
    let number = state.servers;
    let pipes = Pipes {
        stdin,
        stdout,
        lines,
    };
    let life = live(Arc::clone(session), number, server, pipes, stopped);
    state.running = Some(Running {
        number,
        started,
        input: input.clone(),
        is_ready: false,
        _stop: stop,
    });
    remember(session, async move {
        life.await;
        drop(counted);
    });
    Ok((input, answer, number))
}

/// Sees to it that it is waited for at the end.
fn remember(session: &Session, life: impl Future<Output = ()> + Send + 'static) {
    let mut servers = session.shared.servers();
    // Those that have ended need not be remembered.
    while servers.try_join_next().is_some() {}
    servers.spawn(life);
}

/// Servers write arguments there, and those are nobody's business.
fn stderr_of(session: &Session) -> Stdio {
    match session.shared.shows_stderr {
        true => Stdio::piped(),
        false => Stdio::null(),
    }
}

struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    /// What is to be written to stdin.
    lines: mpsc::Receiver<Bytes>,
}

/// Carries messages both ways until the server ends, or is to end; then sees to
/// it that nobody of its group is left.
async fn live(
    session: Arc<Session>,
    number: u64,
    mut server: Server,
    pipes: Pipes,
    stop: oneshot::Receiver<()>,
) {
    let logging = server.stderr().map(stderr::log).map(tokio::spawn);
    let mut writing = Box::pin(write(pipes.stdin, pipes.lines));
    let mut reading = pin!(read(&session, number, pipes.stdout));
    let mut is_silent = false;
    tokio::select! {
        _ = stop => {}
        () = &mut writing => {}
        () = &mut reading => is_silent = true,
        _ = server.end() => {}
    }
    // That closes its stdin, on which a server ends by itself. What it has said
    // by now still arrives.
    drop(writing);
    let rest = async {
        if !is_silent {
            reading.await;
        }
    };
    let _ = timeout(GRACE, async { tokio::join!(rest, server.end()) }).await;
    server.kill();
    let status = timeout(GRACE, server.end()).await;
    let is_unexpected = session.server_gone(
        number,
        "The MCP server behind this proxy ended before it answered. If this was a call, it may \
         have run: check that before you repeat it. The server is started again with the next \
         request.",
    );
    if is_unexpected {
        let status = status
            .ok()
            .and_then(Result::ok)
            .map(|status| status.to_string());
        tracing::warn!(server = server.name(), status, "the server ended");
        if logging.is_none() {
            tracing::info!(
                "what a server says of its end is shown with --show-server-stderr, or \
                 `show_stderr` in the configuration"
            );
        }
    }
    if let Some(mut logging) = logging {
        // Its last words are the ones that say why.
        if timeout(GRACE, &mut logging).await.is_err() {
            logging.abort();
        }
    }
}

/// Writes what is sent to the server, whole lines only, until it takes no more
/// or nobody has anything to send.
async fn write(stdin: ChildStdin, mut lines: mpsc::Receiver<Bytes>) {
    let stdin = LineWriter::new(stdin);
    while let Some(message) = lines.recv().await {
        if stdin.write(message.into()).await.is_err() {
            return;
        }
    }
}

/// Routes what the server says, until it closes its stdout.
async fn read(session: &Session, number: u64, stdout: ChildStdout) {
    let mut stdout = BufReader::new(stdout);
    loop {
        match lines::next(&mut stdout, SERVER_LINE).await {
            Ok(Some(Line::Whole(line))) => routing::route(session, number, line).await,
            Ok(Some(Line::TooLong)) => {
                tracing::warn!(
                    limit = SERVER_LINE,
                    "a line of the server's is too long and was dropped"
                );
                // Whose answer it was stands anywhere in it.
                session.state().routes.fail_all(|id| error(id, TOO_LONG));
            }
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::session::Shared;
    use mcp_policy::{Caller, MessageGuard, Policy};

    fn session(script: &str) -> Arc<Session> {
        let policy: Policy = r#"{"version":"1","default":"deny"}"#.parse().unwrap();
        let command = ["sh", "-c", script].map(Into::into).to_vec();
        let shared = Arc::new(Shared::new(command, MessageGuard::new(policy)));
        let initialize = br#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
        Arc::new(Session::new(
            shared,
            Caller::anonymous(),
            Bytes::from_static(initialize),
        ))
    }

    const GREETS: &str = r#"read line; echo '{"jsonrpc":"2.0","id":1,"result":{}}';"#;

    // The clock is stopped, and goes on to the next timer whenever everything
    // waits.

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_ended() {
        let session = session("cat > /dev/null");
        let before = Instant::now();
        let refused = session.begin().await.unwrap_err();
        assert!(refused.text.contains("120 s"), "{}", refused.text);
        assert!(before.elapsed() >= HANDSHAKE);
        assert!(session.state().running.is_none());
        let mut servers = std::mem::take(&mut *session.shared.servers());
        servers.join_next().await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_end_with_its_stdin_is_killed() {
        let session = session(&format!("{GREETS} sleep 1000"));
        // Started outside of the clock's reach, or the wait would be over first.
        tokio::time::resume();
        assert!(session.begin().await.unwrap().is_taken);
        tokio::time::pause();
        session.close();
        let before = Instant::now();
        let mut servers = std::mem::take(&mut *session.shared.servers());
        servers.join_next().await.unwrap().unwrap();
        assert!(before.elapsed() >= GRACE);
    }
}
