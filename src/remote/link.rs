//! The connection to a Redis server, made again whenever it breaks.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, Script, ScriptInvocation,
};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::ENDED;
use crate::store::StoreError;

/// A server that takes longer for anything is taken for one that has gone.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many things wait to be told.
const UNTOLD: u32 = 16_384;
/// How often it is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Between attempts to connect.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// For how long it makes sense to tell anything: so long the scripts remember what
/// was charged.
const WORTH_TELLING: Duration = Duration::from_secs(300);

/// The way to a server, shared by everybody who asks it.
#[derive(Clone)]
pub(crate) struct Link {
    state: Arc<watch::Sender<State>>,
    /// How much waits to be told.
    untold: Arc<watch::Sender<u32>>,
}

#[derive(Clone)]
enum State {
    /// It is about to be known.
    Connecting,
    Up {
        connection: MultiplexedConnection,
        /// Told when it is found to be broken.
        broken: Arc<Notify>,
    },
    Down(StoreError),
}

impl Default for Link {
    fn default() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::Connecting)),
            untold: Arc::default(),
        }
    }
}

impl Link {
    /// Connects, for ever.
    pub(super) async fn keep(self, client: Client, scripts: Vec<&'static Script>) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            match connect(&client, &scripts).await {
                Ok(connection) => {
                    tracing::debug!(target: "mcp_policy", "connected to the Redis server");
                    pause = SHORTEST_PAUSE;
                    let broken = Arc::new(Notify::new());
                    let up = State::Up {
                        connection,
                        broken: Arc::clone(&broken),
                    };
                    self.state.send_replace(up);
                    self.watch(&broken).await;
                    self.state.send_replace(State::Connecting);
                }
                Err(error) => {
                    if self.check().err().as_ref() != Some(&error) {
                        tracing::warn!(target: "mcp_policy", %error, "cannot connect to the Redis server");
                    }
                    self.state.send_replace(State::Down(error));
                    sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
    }

    /// Waits until the connection is broken.
    async fn watch(&self, broken: &Notify) {
        while timeout(HEARTBEAT, broken.notified()).await.is_err() {
            // If there is no answer, it is broken and says so.
            let _: Result<String, _> = self.run(&Cmd::ping()).await;
        }
    }

    /// An error if it is known that there is no connection.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &*self.state.borrow() {
            State::Down(error) => Err(error.clone()),
            State::Connecting | State::Up { .. } => Ok(()),
        }
    }

    /// The connection, or why there is none.
    async fn connection(&self) -> Result<(MultiplexedConnection, Arc<Notify>), StoreError> {
        let mut states = self.state.subscribe();
        loop {
            match &*states.borrow_and_update() {
                State::Up { connection, broken } => {
                    return Ok((connection.clone(), Arc::clone(broken)));
                }
                State::Down(error) => return Err(error.clone()),
                State::Connecting => {}
            }
            states.changed().await.map_err(|_| ENDED)?;
        }
    }

    /// Has a script run.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let (mut connection, broken) = self.connection().await?;
        answered(script.invoke_async(&mut connection), &broken).await
    }

    /// Has a command run.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let (mut connection, broken) = self.connection().await?;
        answered(command.query_async(&mut connection), &broken).await
    }

    /// Has a script run later: once or several times, and also after the server was
    /// away, for as long as that makes sense. Only for the thread that asks.
    pub(crate) fn tell_soon(&self, script: ScriptInvocation<'static>) {
        if let Some(telling) = self.telling(script) {
            tokio::spawn(telling);
        }
    }

    /// The same, for others. `None` if there is no room for it.
    pub(super) fn telling(
        &self,
        script: ScriptInvocation<'static>,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let Some(untold) = Untold::one_of(&self.untold) else {
            tracing::error!(target: "mcp_policy", "too much waits to be told to the Redis server");
            return None;
        };
        let link = self.clone();
        Some(async move {
            link.tell(script).await;
            drop(untold);
        })
    }

    async fn tell(&self, script: ScriptInvocation<'static>) {
        let until = Instant::now() + WORTH_TELLING;
        let mut pause = SHORTEST_PAUSE;
        while let Err(error) = self.invoke::<()>(&script).await {
            if Instant::now() > until {
                tracing::error!(target: "mcp_policy", %error, "the Redis server was not told");
                return;
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            let is_up = |state: &State| matches!(state, State::Up { .. });
            let mut states = self.state.subscribe();
            // Else it is found out above that there is none.
            let _ = timeout_at(until, states.wait_for(is_up)).await;
        }
    }

    /// Waits until nothing waits to be told.
    pub(super) async fn all_told(&self) {
        // It is never closed.
        let _ = self
            .untold
            .subscribe()
            .wait_for(|untold| *untold == 0)
            .await;
    }
}

/// Something that waits to be told, until this is dropped.
struct Untold(Arc<watch::Sender<u32>>);

impl Untold {
    /// `None` if there is no room for it.
    fn one_of(all: &Arc<watch::Sender<u32>>) -> Option<Self> {
        let is_room = all.send_if_modified(|untold| {
            let is_room = *untold < UNTOLD;
            *untold = untold.saturating_add(u32::from(is_room));
            is_room
        });
        is_room.then(|| Self(Arc::clone(all)))
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        self.0
            .send_modify(|untold| *untold = untold.saturating_sub(1));
    }
}

/// What the server answers. If the connection is the reason that it does not, that is
/// broken.
async fn answered<T>(
    answer: impl Future<Output = Result<T, RedisError>>,
    broken: &Notify,
) -> Result<T, StoreError> {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            if error.is_io_error() || error.is_unrecoverable_error() {
                broken.notify_one();
            }
            Err(error_of(&error))
        }
        Err(_) => {
            broken.notify_one();
            Err(SILENT)
        }
    }
}

const SILENT: StoreError = StoreError::of(
    "the Redis server does not answer: it may be too busy, or cannot be reached from here",
);

/// Connects, and has the server learn the scripts: if everybody found out that it does
/// not know them, it would be taught each by everybody.
async fn connect(
    client: &Client,
    scripts: &[&'static Script],
) -> Result<MultiplexedConnection, StoreError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(super::OUTSTANDING);
    let connecting = async {
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        // All of them at once: each by itself would be waited for.
        let mut learning = JoinSet::new();
        for &script in scripts {
            let mut connection = connection.clone();
            learning.spawn(async move { script.load_async(&mut connection).await });
        }
        while let Some(learned) = learning.join_next().await {
            learned.map_err(io::Error::other)??;
        }
        Ok(connection)
    };
    match timeout(PATIENCE, connecting).await {
        Ok(connected) => connected.map_err(|error: RedisError| error_of(&error)),
        Err(_) => Err(SILENT),
    }
}

/// What is wrong, without anything that the server or the URL says in detail: nobody
/// knows what is in that.
fn error_of(error: &RedisError) -> StoreError {
    let category = error.category();
    StoreError::new(match error.code() {
        Some(code) => format!("the Redis server cannot: {category} ({code})"),
        None => format!("no answer from the Redis server: {category}"),
    })
}

/// What a connection is made with is nobody else's business.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
