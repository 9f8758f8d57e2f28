//! Very many calls while very many streams are open, and how much memory that takes.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    Method, Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{runtime, sync::watch, task::JoinSet, time::timeout};
use tower::BoxError;

/// Calls that are under way at once.
const AT_ONCE: u64 = 64;
/// How often memory is looked at, in a whole run.
const SAMPLES: u64 = 100;
/// What may be added for each thousand calls, in KiB.
const MOST: f64 = 1.0;
/// How many in a million may be refused, because their record was not written in time on a
/// machine that does other things, too.
const MOST_REFUSED: u64 = 1_000;
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(30);

const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"tool_99","arguments":{"amount":5}}}"#;

type Asking = Client<HttpConnector, Full<Bytes>>;

pub(crate) fn run(url: &str, process: &str, calls: &str, streams: &str) -> Result<(), BoxError> {
    let soak = Soak {
        url: url.to_owned(),
        process: process.parse()?,
        calls: calls.parse()?,
        streams: streams.parse()?,
    };
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(soak.run())
}

struct Soak {
    url: String,
    /// Whose memory is looked at.
    process: u32,
    calls: u64,
    streams: usize,
}

impl Soak {
    async fn run(self) -> Result<(), BoxError> {
        println!("before anything: {} KiB", self.memory()?);
        let heard = Arc::new(AtomicUsize::new(0));
        let mut streams = self.open_streams(&heard).await?;
        println!("with {} open streams: {} KiB", self.streams, self.memory()?);
        let curve = self.call().await?;
        let gone = std::iter::from_fn(|| streams.try_join_next()).count();
        println!(
            "{} of {} streams are still open, and heard {} events",
            self.streams.saturating_sub(gone),
            self.streams,
            heard.load(Ordering::Relaxed)
        );
        if gone > 0 {
            return Err("streams have ended".into());
        }
        let slope = slope(&curve).ok_or("too few samples")?;
        println!("slope of the last half: {slope:.3} KiB for each 1000 calls, at most {MOST}");
        if slope >= MOST {
            return Err("memory grows".into());
        }
        Ok(())
    }

    /// Opens them all, and reads on until they end.
    async fn open_streams(&self, heard: &Arc<AtomicUsize>) -> Result<JoinSet<()>, BoxError> {
        let client = client();
        let mut streams = JoinSet::new();
        for _ in 0..self.streams {
            let request = Request::builder().method(Method::GET).uri(&self.url);
            let request = request
                .header(ACCEPT, "text/event-stream")
                .header("mcp-protocol-version", "2025-06-18")
                .body(Full::default())?;
            let response = timeout(PATIENCE, client.request(request)).await??;
            if response.status() != 200 {
                return Err(format!("a stream was answered {}", response.status()).into());
            }
            let heard = Arc::clone(heard);
            let mut body = response.into_body();
            streams.spawn(async move {
                while let Some(Ok(_)) = body.frame().await {
                    heard.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Ok(streams)
    }

    /// Makes all calls, and tells after how many there was how much memory in use.
    async fn call(&self) -> Result<Vec<(u64, u64)>, BoxError> {
        let begun = Arc::new(AtomicU64::new(0));
        let refused = Arc::new(AtomicU64::new(0));
        let (ended, mut ends) = watch::channel(0_u64);
        let mut callers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (begun, ended) = (Arc::clone(&begun), ended.clone());
            let refused = Arc::clone(&refused);
            let (client, url, calls) = (client(), self.url.clone(), self.calls);
            callers.spawn(async move {
                while begun.fetch_add(1, Ordering::Relaxed) < calls {
                    if !call(&client, &url).await? {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    ended.send_modify(|ended| *ended += 1);
                }
                Ok::<_, BoxError>(())
            });
        }
        drop(ended);
        let start = Instant::now();
        let mut curve = Vec::new();
        let each = (self.calls / SAMPLES).max(1);
        for sample in 1..=self.calls / each {
            // They end early only if one has failed, which is told below.
            let Ok(_) = ends.wait_for(|ended| *ended >= sample * each).await else {
                break;
            };
            let memory = self.memory()?;
            println!("{:>9} calls {memory:>7} KiB", sample * each);
            curve.push((sample * each, memory));
        }
        while let Some(caller) = callers.join_next().await {
            caller??;
        }
        let refused = refused.load(Ordering::Relaxed);
        let taken = start.elapsed();
        println!(
            "{} calls in {taken:.0?}, of which {refused} were refused",
            self.calls
        );
        if refused > self.calls.saturating_mul(MOST_REFUSED) / 1_000_000 {
            return Err("too many were refused".into());
        }
        Ok(curve)
    }

    /// What the process has in memory now, in KiB.
    fn memory(&self) -> Result<u64, BoxError> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.ok_or("no VmRSS")?.parse()?)
    }
}

fn client() -> Asking {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build_http()
}

/// Whether a call was made; if not, it was refused because it could not be recorded.
async fn call(client: &Asking, url: &str) -> Result<bool, BoxError> {
    let request = Request::post(url)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18")
        .body(Full::from(CALL))?;
    let answer = timeout(PATIENCE, client.request(request)).await??;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    match status.as_u16() {
        200 if text.contains(r#""result""#) => Ok(true),
        200 if text.contains(r#""rule":"(audit)""#) => Ok(false),
        _ => Err(format!("a call was answered {status}: {text}").into()),
    }
}

/// Of the line that is nearest to the last half of the curve, for each thousand calls.
#[allow(
    clippy::cast_precision_loss,
    reason = "numbers of calls and KiB are small"
)]
fn slope(curve: &[(u64, u64)]) -> Option<f64> {
    let (_, last) = curve.split_at_checked(curve.len() / 2)?;
    let count = last.len() as f64;
    let mean = |of: fn(&(u64, u64)) -> u64| last.iter().map(of).sum::<u64>() as f64 / count;
    let (calls, memory) = (mean(|one| one.0), mean(|one| one.1));
    let (mut above, mut below) = (0.0, 0.0);
    for one in last {
        let from_mean = one.0 as f64 - calls;
        above += from_mean * (one.1 as f64 - memory);
        below += from_mean * from_mean;
    }
    (below > 0.0).then_some(above / below * 1_000.0)
}
