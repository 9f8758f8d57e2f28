//! One client's session: what it began with, who waits in it, and which server
//! is behind it at the moment.
//!
//! The server may end and be started again while the session goes on; each of a
//! session's servers has a number.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use mcp_policy::{Caller, MessageGuard};
use tokio::{
    sync::{OwnedMutexGuard, Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    backoff::Backoff,
    routes::{Call, Place, Routes, Unfit},
    sessions::{MOST_OF_ONE_CALLER, MOST_SESSIONS},
    streams::{Inlet, PATIENCE},
    supervisor::{self, Greeting},
};
use crate::message::{self, INTERNAL_ERROR, INVALID_REQUEST, Id};
use crate::{child::Program, lock::lock};

/// How long a call that was called off is still waited for: the server may have
/// answered before it heard of it.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// Messages of one session that may wait for its server to start or to read.
const MOST_ON_THEIR_WAY: usize = 256;
/// A start that may be made after this long is waited for, rather than refused.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// What all sessions have in common.
pub(super) struct Shared {
    pub(super) program: Program,
    /// Says of an answer that cannot be read whom it answers.
    pub(super) guard: MessageGuard,
    /// Whether the log holds what the servers write to stderr.
    pub(super) shows_stderr: bool,
    /// The servers that have not ended yet, those of ended sessions among them.
    servers: Mutex<JoinSet<()>>,
    /// How many of them each caller has.
    processes: Mutex<HashMap<String, usize>>,
}

/// A process that a caller has, until this is dropped.
pub(super) struct Process {
    shared: Arc<Shared>,
    caller: String,
}

impl Shared {
    pub(super) fn new(program: impl Into<Program>, guard: MessageGuard) -> Self {
        Self {
            program: program.into(),
            guard,
            shows_stderr: false,
            servers: Mutex::default(),
            processes: Mutex::default(),
        }
    }

    /// Counts a process of this caller; `None` if there are too many already.
    /// A session that has ended still has one for a moment.
    pub(super) fn process_of(self: &Arc<Self>, caller: &Caller) -> Option<Process> {
        let mut processes = self.processes();
        let all: usize = processes.values().sum();
        let own = processes.get(caller.id()).copied().unwrap_or(0);
        if own >= 2 * MOST_OF_ONE_CALLER || all >= 2 * MOST_SESSIONS {
            return None;
        }
        processes.insert(caller.id().to_owned(), own.saturating_add(1));
        Some(Process {
            shared: Arc::clone(self),
            caller: caller.id().to_owned(),
        })
    }

    fn processes(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        lock(&self.processes)
    }

    pub(super) fn servers(&self) -> MutexGuard<'_, JoinSet<()>> {
        lock(&self.servers)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut processes = self.shared.processes();
        if let Some(own) = processes.get_mut(&self.caller) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                processes.remove(&self.caller);
            }
        }
    }
}

pub(super) struct Session {
    pub(super) caller: Caller,
    pub(super) shared: Arc<Shared>,
    /// The client's `initialize`, for this server and those that follow it.
    pub(super) initialize: Bytes,
    state: Mutex<State>,
    /// Held by whoever starts a server.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Held by whoever has a message for the server.
    on_their_way: Semaphore,
}

pub(super) struct State {
    pub(super) routes: Routes,
    /// The client's `notifications/initialized`.
    pub(super) initialized: Option<Bytes>,
    pub(super) running: Option<Running>,
    pub(super) backoff: Backoff,
    /// How many servers there were.
    pub(super) servers: u64,
    pub(super) closed: bool,
    last_used: Instant,
}

/// A server that was started.
pub(super) struct Running {
    pub(super) number: u64,
    pub(super) started: Instant,
    pub(super) input: mpsc::Sender<Bytes>,
    /// Whether it has taken the handshake.
    pub(super) is_ready: bool,
    /// Dropped to have it end.
    pub(super) _stop: oneshot::Sender<()>,
}

/// Why a request got no answer of the server's.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: i32,
    pub(super) text: String,
}

impl Refused {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            code: INTERNAL_ERROR,
            text: text.into(),
        }
    }
}

impl From<Unfit> for Refused {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::SameId => Self {
                code: INVALID_REQUEST,
                text: "A request with this id has not been answered yet. Send each request of a \
                       session with an id of its own."
                    .to_owned(),
            },
            Unfit::TooMany => Self::new(
                "Too many calls are in flight in this session. Wait until some are answered.",
            ),
        }
    }
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, caller: Caller, initialize: Bytes) -> Self {
        Self {
            caller,
            shared,
            initialize,
            state: Mutex::new(State {
                routes: Routes::default(),
                initialized: None,
                running: None,
                backoff: Backoff::default(),
                servers: 0,
                closed: false,
                last_used: Instant::now(),
            }),
            turn: Arc::default(),
            on_their_way: Semaphore::new(MOST_ON_THEIR_WAY),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn touch(&self) {
        self.state().last_used = Instant::now();
    }

    /// Since when nobody has used the session; `None` while somebody waits.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        state.routes.are_idle().then_some(state.last_used)
    }

    /// Starts the first server.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Greeting, Refused> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.start(turn, Duration::ZERO).await
    }

    /// Passes a request on and gives the place where its answer arrives.
    pub(super) async fn ask(
        self: &Arc<Self>,
        call: Call<'_>,
        request: Bytes,
    ) -> Result<(Seat, Inlet), Refused> {
        let _on_its_way = self
            .on_their_way
            .try_acquire()
            .map_err(|_| Unfit::TooMany)?;
        self.ready().await?;
        let (mut seat, inlet, input) = {
            let mut state = self.state();
            let state = &mut *state;
            let Some(running) = state.running.as_ref().filter(|running| running.is_ready) else {
                return Err(Refused::new(
                    "The MCP server behind this proxy has just ended, so the call was not made. \
                     Try again.",
                ));
            };
            let (place, inlet) = state.routes.wait(call)?;
            let seat = Seat {
                session: Arc::clone(self),
                place,
                asked: false,
            };
            (seat, inlet, running.input.clone())
        };
        match timeout(PATIENCE, input.send(request)).await {
            Ok(Ok(())) => {
                seat.asked = true;
                Ok((seat, inlet))
            }
            _ => Err(Refused::new(
                "The MCP server behind this proxy takes no more messages at the moment, so the \
                 call was not made. Try again later.",
            )),
        }
    }

    /// Passes on what is not to be answered. A server that is not there misses
    /// nothing by it.
    pub(super) async fn tell(&self, message: Bytes) {
        let Ok(_on_its_way) = self.on_their_way.try_acquire() else {
            tracing::warn!(
                "too many messages are on their way, so one of the client's was dropped"
            );
            return;
        };
        let input = {
            let state = self.state();
            let running = state.running.as_ref().filter(|running| running.is_ready);
            running.map(|running| running.input.clone())
        };
        let Some(input) = input else { return };
        if timeout(PATIENCE, input.send(message)).await.is_err() {
            tracing::warn!("the server takes no messages, so one of the client's was dropped");
        }
    }

    /// Remembers that the client is ready too, for the servers to come.
    pub(super) fn is_initialized(&self, notification: Bytes) {
        self.state().initialized.get_or_insert(notification);
    }

    /// Whether the client's answer is for the server that runs now.
    pub(super) fn is_asked(&self, id: &Id) -> bool {
        let mut state = self.state();
        let number = state.running.as_ref().map(|running| running.number);
        number.is_some_and(|number| state.routes.is_answer_for(id, number))
    }

    /// Ends the wait for a call that was called off, if its answer does not come
    /// soon.
    pub(super) fn cancel(self: &Arc<Self>, id: &Id) {
        let Some(place) = self.state().routes.cancel(id) else {
            return;
        };
        let session = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(CANCEL_GRACE).await;
            if let Some(session) = session.upgrade() {
                session.state().routes.leave(place);
            }
        });
    }

    /// Opens the stream for what belongs to no request.
    pub(super) fn listen(self: &Arc<Self>) -> (Seat, Inlet) {
        let (place, inlet) = {
            let mut state = self.state();
            let opened = state.routes.open_server_stream();
            if state.closed {
                state.routes.close_server_stream();
            }
            opened
        };
        let seat = Seat {
            session: Arc::clone(self),
            place,
            asked: true,
        };
        (seat, inlet)
    }

    /// The server has answered the client's `initialize`, and is told that the
    /// client is ready, if it is. `false` if it has ended meanwhile.
    pub(super) fn is_greeted(&self, number: u64) -> bool {
        let mut state = self.state();
        let initialized = state.initialized.clone();
        let Some(running) = state.running_as(number) else {
            return false;
        };
        if let Some(initialized) = initialized {
            let _ = running.input.try_send(initialized);
        }
        running.is_ready = true;
        true
    }

    /// The server has ended, or is not wanted any more: nobody waits for it from
    /// now on. `false` if that was known.
    pub(super) fn server_gone(&self, number: u64, text: &str) -> bool {
        let mut state = self.state();
        let Some(started) = state.running_as(number).map(|running| running.started) else {
            return false;
        };
        state.running = None;
        state.backoff.ended(started);
        state.routes.server_gone(|id| error(id, text));
        true
    }

    /// Tells the server something of this program's own, if there is room.
    pub(super) fn tell_now(&self, number: u64, message: Bytes) {
        if let Some(running) = self.state().running_as(number)
            && running.input.try_send(message).is_err()
        {
            tracing::warn!("the server takes no messages, so one for it was dropped");
        }
    }

    /// Ends the session and its server.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.routes.server_gone(|id| {
            let text = "The session was ended. If this was a call, it may have run: check that \
                        before you repeat it.";
            error(id, text)
        });
        state.routes.close_server_stream();
        state.running = None;
    }

    /// Waits until there is a server that has taken the handshake.
    async fn ready(self: &Arc<Self>) -> Result<(), Refused> {
        if self.state().is_ready() {
            return Ok(());
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let delay = {
            let state = self.state();
            if state.is_ready() {
                return Ok(());
            }
            state.backoff.remaining()
        };
        if delay > SHORT_WAIT {
            return Err(Refused::new(format!(
                "The MCP server behind this proxy ends again and again, so the call was not made. \
                 The next start is due in {} s: try again then.",
                delay.as_secs().saturating_add(1)
            )));
        }
        if self.start(turn, delay).await?.is_taken {
            return Ok(());
        }
        Err(Refused::new(
            "The MCP server behind this proxy was started again, but did not take the handshake \
             of this session, so the call was not made. Try again later, or begin a new session.",
        ))
    }

    /// Starts a server, in a task of its own: others may wait for it too, when
    /// the client that needed it first has gone.
    async fn start(
        self: &Arc<Self>,
        turn: OwnedMutexGuard<()>,
        delay: Duration,
    ) -> Result<Greeting, Refused> {
        let session = Arc::clone(self);
        let starting = tokio::spawn(async move {
            sleep(delay).await;
            let started = supervisor::start(&session).await;
            drop(turn);
            started
        });
        starting.await.unwrap_or_else(|_| {
            Err(Refused::new(
                "The MCP server behind this proxy could not be started, so the call was not made. Its \
                 operator finds out why in the log.",
            ))
        })
    }
}

impl State {
    fn is_ready(&self) -> bool {
        matches!(&self.running, Some(running) if running.is_ready)
    }

    /// The server with this number, if it is the one that runs.
    fn running_as(&mut self, number: u64) -> Option<&mut Running> {
        let running = self.running.as_mut();
        running.filter(|running| running.number == number)
    }
}

/// The answer to a request that the server does not give.
pub(super) fn error(raw_id: &str, text: &str) -> Bytes {
    message::error(Some(raw_id), INTERNAL_ERROR, text).into()
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// A place that is let go when its reader has gone.
pub(super) struct Seat {
    session: Arc<Session>,
    place: Place,
    /// Whether the server has been asked, and may answer.
    asked: bool,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.session.state();
        state.last_used = Instant::now();
        if self.asked {
            state.routes.leave(self.place);
        } else {
            state.routes.take_back(self.place);
        }
    }
}
