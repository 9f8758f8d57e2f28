//! Accepts connections, and lets go of them.

// Where it is has to be said, because the benchmark takes this file from elsewhere.
#[path = "server/alarm.rs"]
mod alarm;

use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{self, TryFutureExt};
use http::{Request, Response, Version};
use http_body_util::Either;
use hyper::{
    body::{Body, Incoming},
    rt::Executor,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use mcp_policy::Caller;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tower::{Service, ServiceExt, util::Oneshot};

use self::alarm::Alarm;
use crate::{
    answers::Answers,
    lock::lock,
    stream::{Bounded, is_stream, only_listens},
    workers::Workers,
};

/// How long a connection may take for the head of a request, and how long it
/// may stay without one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may stay without taking anything of what is sent on it.
/// What waits there keeps its share of the policy layer's memory.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long open calls get to finish once the server was told to stop.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long those that are cut off get to let go of what they hold.
const FAREWELL: Duration = Duration::from_secs(1);

/// How serving ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Ended {
    /// Every call was answered.
    Drained,
    /// Some were not when the time was up.
    CutOff,
    /// Someone would not wait.
    Interrupted,
}

/// Serves HTTP/1.1, and HTTP/2 to those who know (h2c), until `stop` is done;
/// then ends the streams on which no answer is due, and finishes the open calls,
/// for [`DRAIN_TIMEOUT`] or until `stop`, asked once more, is done again. Nothing of a call
/// is left then: whoever closes what its end is recorded in has heard of it.
pub(crate) async fn serve(
    listener: TcpListener,
    service: impl Answers<Incoming>,
    stop: impl AsyncFnMut(),
) -> Ended {
    serve_by(Workers::here(), listener, service, stop).await
}

/// The same, on these threads.
pub(crate) async fn serve_by(
    workers: Workers,
    listener: TcpListener,
    service: impl Answers<Incoming>,
    mut stop: impl AsyncFnMut(),
) -> Ended {
    let tasks = Tasks::default();
    let http = protocols(&tasks);
    let open = GracefulShutdown::new();
    let stopping = watch::Sender::new(false);
    {
        let mut stopped = pin!(stop());
        loop {
            let (stream, peer) = tokio::select! {
                accepted = accept(&listener) => accepted,
                () = &mut stopped => break,
            };
            // It belongs to the thread that drives it.
            let Ok(stream) = stream.into_std() else {
                continue;
            };
            let asked = Arc::new(AtomicBool::new(false));
            let note = Arc::clone(&asked);
            let (service, stopping) = (Mutex::new(service.clone()), stopping.clone());
            // Without anything better, this is who calls.
            let caller = Caller::from(peer.ip());
            let service = service_fn(move |mut request: Request<Incoming>| {
                note.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(caller.clone());
                answer(&service, request, &stopping)
            });
            let mut http = http.clone();
            http.http1().timer(Alarm::default());
            let (worker, watcher) = (workers.next(), open.watcher());
            let driving = worker.clone();
            let connection = async move {
                let Ok(stream) = TcpStream::from_std(stream) else {
                    return;
                };
                let stream = TokioIo::new(impatient(stream));
                let connection = http.serve_connection(stream, service).into_owned();
                drive(watcher.watch(connection), asked).await;
                drop(driving);
            };
            tasks.spawn(connection, &worker.runtime);
        }
    }
    // New callers are refused at once, rather than left in the queue.
    drop(listener);
    stopping.send_replace(true);
    finish(open, tasks, stop).await
}

/// Lets open calls finish, and cuts off the others.
async fn finish(open: GracefulShutdown, tasks: Tasks, mut stop: impl AsyncFnMut()) -> Ended {
    tracing::info!(
        connections = open.count(),
        "stopping once the open calls are answered"
    );
    let ended = tokio::select! {
        () = open.shutdown() => Ended::Drained,
        () = stop() => Ended::Interrupted,
        () = sleep(DRAIN_TIMEOUT) => Ended::CutOff,
    };
    tasks.end().await;
    ended
}

/// Both versions of HTTP, for peers that may be slow or gone.
fn protocols(tasks: &Tasks) -> auto::Builder<Tasks> {
    let mut http = auto::Builder::new(tasks.clone());
    // Its timer is that of each connection.
    http.http1().header_read_timeout(HEAD_TIMEOUT);
    // Notices a peer that went without a word, and with it ends its streams.
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIMEOUT);
    http
}

/// The connections, and the calls that come together on one.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static, runtime: &Handle) {
        let mut tasks = lock(&self.0);
        // Those that are done already would be kept until somebody asks.
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, runtime);
    }

    /// Cuts off those that are left.
    async fn end(self) {
        let mut tasks = std::mem::take(&mut *lock(&self.0));
        if timeout(FAREWELL, tasks.shutdown()).await.is_err() {
            tracing::warn!("a call does not let go of what it holds");
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(task, &Handle::current());
    }
}

/// What becomes of a request.
type Asked<S, Q> = future::Either<<S as Service<Q>>::Future, Pin<Box<Oneshot<S, Q>>>>;

/// The answer to a request. A stream on which no answer is due lasts no longer than until
/// this server stops.
///
/// No `async` block: that would have a place for each of what is asked, who asks and the answer
/// at once, and all of it is moved and kept for each connection.
fn answer<S, B>(
    service: &Mutex<S>,
    request: Request<Incoming>,
    stopping: &watch::Sender<bool>,
) -> impl Future<Output = Result<Response<Either<Bounded<B>, B>>, S::Error>> + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes>,
{
    let stopping = only_listens(&request).then(|| stopping.clone());
    ask(service, request).map_ok(move |response| match stopping {
        Some(stopping) if is_stream(&response) => {
            let mut told = stopping.subscribe();
            let stops = async move {
                // Nobody is left who could say so: then it has stopped, too.
                let _ = told.wait_for(|stops| *stops).await;
            };
            response.map(|body| Either::Left(Bounded::by(stops, body)))
        }
        _ => response.map(Either::Right),
    })
}

/// Asks the service of a connection, which is ready as a rule. A clone for each call would be
/// counted in places to which all threads write, and for which they would wait.
///
/// By HTTP/2 calls come together, each of which has a task of its own. It is asked there: if
/// that panics, it ends no other.
fn ask<S, Q>(service: &Mutex<S>, request: Request<Q>) -> Asked<S, Request<Q>>
where
    S: Service<Request<Q>> + Clone,
{
    let mut service = lock(service);
    match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) if request.version() != Version::HTTP_2 => {
            future::Either::Left(service.call(request))
        }
        _ => {
            // The one that was asked may have its turn by that, and no other.
            let other = service.clone();
            let waiting = std::mem::replace(&mut *service, other);
            future::Either::Right(Box::pin(waiting.oneshot(request)))
        }
    }
}

/// A connection that ends when nothing of what is written to it is taken any
/// more: hyper would wait for ever.
fn impatient<S: AsyncRead + AsyncWrite>(stream: S) -> Pin<Box<TimeoutStream<S>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    Box::pin(stream)
}

/// Drives a connection to its end.
///
/// hyper's own timer starts only once it knows which HTTP is spoken, so a
/// connection that says nothing at all needs another one.
async fn drive<E: fmt::Display>(
    connection: impl Future<Output = Result<(), E>>,
    asked: Arc<AtomicBool>,
) {
    let (mut connection, mut silence) = (pin!(connection), pin!(sleep(HEAD_TIMEOUT)));
    let ended = poll_fn(|context| {
        if let Poll::Ready(result) = connection.as_mut().poll(context) {
            return Poll::Ready(Some(result));
        }
        match asked.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => silence.as_mut().poll(context).map(|()| None),
        }
    });
    if let Some(Err(error)) = ended.await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Events are small and must not wait for each other.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            // The caller went before it was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionRefused
                ) => {}
            // Out of file descriptors, most likely: others have to end first.
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; trying again in 1 s");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

#[cfg(test)]
#[path = "server/tests.rs"]
mod tests;
