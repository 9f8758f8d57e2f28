//! A Redis server, which is asked by a thread of its own: the library runs in any
//! runtime, and nobody who asks waits for more than the answer.

mod link;
#[cfg(test)]
pub(crate) mod server;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_channel::oneshot;
use redis::{Client, Cmd, Script, ScriptInvocation};
use rustls::crypto::CryptoProvider;
use sha2::{Digest as _, Sha256};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::store::{StoreAnswer, StoreError};
pub(crate) use link::Link;

/// So many questions wait for their answers at once.
const OUTSTANDING: usize = 1_024;
/// How long it is still told things when nobody asks any more.
const FAREWELL: Duration = Duration::from_secs(1);
/// The same while somebody waits for that: a server that takes longer is taken for one that
/// has gone.
const PATIENCE_TO_CLOSE: Duration = Duration::from_secs(3);

const ENDED: StoreError =
    StoreError::of("the thread that asks the Redis server has ended: start the program again");
const UNTOLD: StoreError = StoreError::of(
    "the Redis server does not know everything that it was to be told, as it did not answer within \
     3 s: what was given back last stays charged, and calls that have ended may count as under way \
     for another minute",
);
const NO_URL: StoreError = StoreError::of(
    "this is not the URL of a Redis server: redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], \
     the same with rediss: for TLS, or unix:///PATH",
);
/// What a script answers that reads what no script of this version has written.
pub(crate) const SOMETHING_ELSE: StoreError = StoreError::of(
    "what the Redis server has under mcp-policy:1: was not written by this version: give it a \
     database of its own",
);

/// What stands for a name in keys: names can be long, and should not be where everybody
/// can read them who lists the keys. An id of a session is as good as a password for some
/// servers.
pub(crate) fn short_digest(name: &str) -> String {
    shortened(Sha256::new_with_prefix(name))
}

/// Half of a digest, in base64.
pub(crate) fn shortened(digest: Sha256) -> String {
    let digest: [u8; 32] = digest.finalize().into();
    URL_SAFE_NO_PAD.encode(digest.split_at(16).0)
}

/// What time it is to scripts: that of the server, so that all who ask it go by the same.
/// In microseconds since 1970.
pub(crate) const CLOCK: &str = "local function clock()
          local time = redis.call('TIME')
          return time[1] * 1000000 + time[2]
        end";

/// The same by a clock that is turned by hand: its time is the last argument.
#[cfg(test)]
pub(crate) const CLOCK_BY_HAND: &str = "local function clock()
          return tonumber(table.remove(ARGV))
        end";

/// A Redis server. When this is dropped, its thread ends.
pub(crate) struct Remote {
    runtime: Handle,
    link: Link,
    outstanding: Arc<Semaphore>,
    /// Dropped with this, which is what the thread waits for.
    _ends: oneshot::Sender<()>,
}

impl Remote {
    /// Begins to connect to the server, and goes on trying. These are the scripts that
    /// it will be asked to run.
    pub(crate) fn open(url: &str, scripts: Vec<&'static Script>) -> Result<Self, StoreError> {
        let is_encrypted = url.starts_with("rediss:") || url.starts_with("valkeys:");
        // The program may have chosen one itself.
        if is_encrypted && CryptoProvider::get_default().is_none() {
            // An error says that somebody else has just chosen.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let client = Client::open(url).map_err(|_| NO_URL)?;
        let no_thread = |_| {
            StoreError::of(
                "no thread can be made for the Redis server: this process may have no more of them",
            )
        };
        // A runtime may not be dropped by everybody, so the thread has to be there first.
        let (give, take) = mpsc::channel::<Runtime>();
        let link = Link::default();
        let (ends, ended) = oneshot::channel();
        let kept = link.clone();
        let work = move || {
            let Ok(runtime) = take.recv() else { return };
            runtime.block_on(async {
                tokio::spawn(kept.clone().keep(client, scripts));
                let _ = ended.await;
                let _ = timeout(FAREWELL, kept.all_told()).await;
            });
        };
        thread::Builder::new()
            .name("mcp-policy-redis".to_owned())
            .spawn(work)
            .map_err(no_thread)?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(no_thread)?;
        let remote = Self {
            runtime: runtime.handle().clone(),
            link,
            outstanding: Arc::new(Semaphore::new(OUTSTANDING)),
            _ends: ends,
        };
        // It is there, and waits for it.
        let _ = give.send(runtime);
        Ok(remote)
    }

    /// Asks, unless too many wait already. It goes on whether anybody waits for the
    /// answer or not.
    pub(crate) fn begin<T, W>(&self, work: impl FnOnce(Link) -> W + Send + 'static) -> Begun<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Begun(self.try_to_begin(work))
    }

    fn try_to_begin<T, W>(
        &self,
        work: impl FnOnce(Link) -> W + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.link.check()?;
        let permit = Arc::clone(&self.outstanding).try_acquire_owned();
        let permit = permit.map_err(|_| {
            StoreError::of(
                "too many questions wait for the Redis server already: it is too slow for what it is asked",
            )
        })?;
        let (sender, answer) = oneshot::channel();
        let link = self.link.clone();
        self.runtime.spawn(async move {
            // It can be that nobody waits for it any more.
            let _ = sender.send(work(link).await);
            drop(permit);
        });
        Ok(answer)
    }

    /// Has a script run later: once or several times, and also after the server was
    /// away, for as long as that makes sense.
    pub(crate) fn tell(&self, script: ScriptInvocation<'static>) {
        if let Some(telling) = self.link.telling(script) {
            self.runtime.spawn(telling);
        }
    }

    /// Waits until the server has answered.
    pub(crate) async fn ready(&self) -> Result<(), StoreError> {
        let mut about_memory = Cmd::new();
        about_memory.arg("INFO").arg("memory");
        let ask = async move |link: Link| link.run::<String>(&about_memory).await;
        let told = self.begin(ask).answer().await?;
        match evicts(&told) {
            true => Err(StoreError::of(
                "the Redis server forgets keys when its memory is full, and what is counted with \
                 them: set its maxmemory-policy to noeviction",
            )),
            false => Ok(()),
        }
    }

    /// Waits until everything was told that has to be, but not for ever.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let link = self.link.clone();
        // The thread has a clock, and whoever waits may have none.
        let all_told = async move { timeout(PATIENCE_TO_CLOSE, link.all_told()).await };
        let told = self.runtime.spawn(all_told).await;
        told.map_err(|_| ENDED)?.map_err(|_| UNTOLD)
    }

    /// Does something for as long as it takes.
    pub(crate) fn attend_to<W>(&self, work: impl FnOnce(Link) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(work(self.link.clone()));
    }

    /// Does something again and again.
    pub(crate) fn repeat<W>(
        &self,
        pause: Duration,
        mut work: impl FnMut(Link) -> W + Send + 'static,
    ) where
        W: Future<Output = ()> + Send + 'static,
    {
        let link = self.link.clone();
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                work(link.clone()).await;
            }
        });
    }

    /// Whether nothing waits to be told.
    #[cfg(test)]
    pub(crate) fn is_told(&self) -> bool {
        use futures::FutureExt as _;
        self.link.all_told().now_or_never().is_some()
    }

    /// How much its thread has to do.
    #[cfg(test)]
    pub(crate) fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// Waits until everything was told that has to be.
    #[cfg(test)]
    pub(crate) fn wait_until_told(&self) {
        futures::executor::block_on(self.link.all_told());
    }
}

/// Whether a server that tells this of its memory forgets what is counted when that is
/// full.
fn evicts(told: &str) -> bool {
    let value = |name: &str| {
        let mut values = told.lines().filter_map(|line| line.split_once(':'));
        values
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim())
    };
    let is_bounded = value("maxmemory").is_some_and(|bytes| bytes != "0");
    is_bounded && value("maxmemory_policy") != Some("noeviction")
}

/// A question on its way.
pub(crate) struct Begun<T>(Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>);

impl<T> Begun<T> {
    /// Whether it was asked at all.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.is_ok()
    }
}

impl<T: Send + 'static> Begun<T> {
    /// For those who do not wait for long.
    pub(crate) fn into_answer(self) -> StoreAnswer<T> {
        match self.0 {
            Ok(answer) => StoreAnswer::pending(async { answer.await.unwrap_or(Err(ENDED)) }),
            Err(error) => StoreAnswer::failed(error),
        }
    }

    /// For those who do.
    pub(crate) async fn answer(self) -> Result<T, StoreError> {
        self.0?.await.unwrap_or(Err(ENDED))
    }
}

#[cfg(test)]
mod tests {
    use super::evicts;

    #[test]
    fn a_server_evicts_if_its_memory_is_bounded_and_nothing_forbids_it() {
        let told = |most: &str, policy: &str| {
            format!(
                "# Memory\r\nmaxmemory_human:0B\r\nmaxmemory:{most}\r\nmaxmemory_policy:{policy}\r\n"
            )
        };
        assert!(evicts(&told("1", "allkeys-lru")));
        assert!(evicts(&told("1", "volatile-lfu")));
        assert!(evicts("maxmemory:1\n"));
        assert!(!evicts(&told("1", "noeviction")));
        assert!(!evicts(&told("0", "allkeys-lru")));
        // Some that speak as Redis does tell nothing of it.
        assert!(!evicts("# Memory\r\n"));
    }
}
