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
use http::{Request, Response};
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
fn ask<S, Q>(service: &Mutex<S>, request: Q) -> future::Either<S::Future, Pin<Box<Oneshot<S, Q>>>>
where
    S: Service<Q> + Clone,
{
    let mut service = lock(service);
    match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => future::Either::Left(service.call(request)),
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
mod tests {
    use super::*;
    use http_body_util::Full;
    use hyper_util::rt::TokioExecutor;
    use std::{collections::BTreeSet, convert::Infallible, future::pending};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::Notify,
        task::JoinHandle,
        time::Instant,
    };

    /// A server that never answers, and says when it was asked and stops when told.
    async fn silent_server() -> (SocketAddr, Arc<Notify>, Arc<Notify>, JoinHandle<Ended>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let tell = Arc::clone(&asked);
        let service = tower::service_fn(move |_: Request<Incoming>| {
            tell.notify_one();
            pending::<Result<Response<Full<Bytes>>, Infallible>>()
        });
        let told = Arc::clone(&stop);
        let serving = serve(listener, service, async move || told.notified().await);
        (address, asked, stop, tokio::spawn(serving))
    }

    // The clock is stopped in these, and goes on to the next timer whenever
    // everything waits.

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_for_nothing_is_closed() {
        let (address, ..) = silent_server().await;
        // The second one may still become HTTP/2, the third one is HTTP/1.
        for beginning in ["", "PRI * HT", "POST /mcp HTTP/1.1\r\nhost"] {
            let before = Instant::now();
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            let waited = before.elapsed();
            assert!(waited >= HEAD_TIMEOUT && waited < HEAD_TIMEOUT * 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn open_calls_are_waited_for_but_not_forever() {
        let (address, asked, stop, serving) = silent_server().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(request).await.unwrap();
        asked.notified().await;
        let before = Instant::now();
        stop.notify_one();
        assert_eq!(serving.await.unwrap(), Ended::CutOff);
        assert!(before.elapsed() >= DRAIN_TIMEOUT);
    }

    /// Ready once it was asked so often; a clone has to be asked more often than anybody does.
    struct NotYet(u32);

    impl Clone for NotYet {
        fn clone(&self) -> Self {
            Self(u32::MAX)
        }
    }

    impl Service<u8> for NotYet {
        type Response = u8;
        type Error = Infallible;
        type Future = future::Ready<Result<u8, Infallible>>;

        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            if self.0 == 0 {
                return Poll::Ready(Ok(()));
            }
            self.0 -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }

        fn call(&mut self, request: u8) -> Self::Future {
            assert_eq!(self.0, 0, "it is not ready");
            future::ok(request)
        }
    }

    #[tokio::test]
    async fn a_service_that_is_not_ready_is_waited_for() {
        for often in 0..3 {
            let service = Mutex::new(NotYet(often));
            let answer = timeout(Duration::from_secs(60), ask(&service, 7)).await;
            assert_eq!(answer, Ok(Ok(7)));
        }
    }

    #[tokio::test]
    async fn all_threads_drive_connections_which_end_when_it_stops() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tower::service_fn(|_: Request<Incoming>| async {
            let name = format!("{:?}", std::thread::current().name());
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(name)))
        });
        let stop = Arc::new(Notify::new());
        let told = Arc::clone(&stop);
        let workers = Workers::start().unwrap();
        let most = crate::workers::count();
        let stopped = async move || told.notified().await;
        let serving = tokio::spawn(serve_by(workers, listener, service, stopped));
        let (mut names, mut streams) = (BTreeSet::new(), Vec::new());
        for _ in 0..most {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\")") {
                stream.read_buf(&mut answer).await.unwrap();
            }
            let answer = String::from_utf8(answer).unwrap();
            names.insert(answer.split_once("\r\n\r\n").unwrap().1.to_owned());
            streams.push(stream);
        }
        assert_eq!(names.len(), most, "{names:?}");
        stop.notify_one();
        assert_eq!(serving.await.unwrap(), Ended::Drained);
    }

    /// Part of an answer, of which it tells when it is let go.
    struct Held(Vec<u8>, Arc<Notify>);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            self.1.notify_one();
        }
    }

    /// What becomes of them is recorded when they are let go.
    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_of_a_call_that_is_cut_off() {
        for is_http2 in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (asked, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let held = Arc::new(());
            let call = (Arc::clone(&asked), Arc::clone(&held));
            let service = tower::service_fn(move |_: Request<Incoming>| {
                let (asked, held) = call.clone();
                async move {
                    asked.notify_one();
                    pending::<()>().await;
                    drop(held);
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                }
            });
            let told = Arc::clone(&stop);
            let serving = tokio::spawn(serve(listener, service, async move || {
                told.notified().await;
            }));
            let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
            let request = Request::post("http://localhost/mcp");
            let request = request.body(Full::<Bytes>::default()).unwrap();
            let calling = match is_http2 {
                true => {
                    let shaken =
                        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
                    let (mut client, connection) = shaken.await.unwrap();
                    tokio::spawn(async move { drop(connection.await) });
                    tokio::spawn(async move { drop(client.send_request(request).await) })
                }
                false => {
                    let shaken = hyper::client::conn::http1::handshake(stream);
                    let (mut client, connection) = shaken.await.unwrap();
                    tokio::spawn(async move { drop(connection.await) });
                    tokio::spawn(async move { drop(client.send_request(request).await) })
                }
            };
            asked.notified().await;
            stop.notify_one();
            tokio::task::yield_now().await;
            stop.notify_one();
            let ended = serving.await.unwrap();
            assert_ne!(ended, Ended::Drained);
            assert_eq!(Arc::strong_count(&held), 1, "by HTTP/2: {is_http2}");
            drop(calling);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gone = Arc::new(Notify::new());
        let tell = Arc::clone(&gone);
        let service = tower::service_fn(move |_: Request<Incoming>| {
            // More than fits into the buffers of a connection.
            let answer = Bytes::from_owner(Held(vec![b'x'; 64 << 20], Arc::clone(&tell)));
            async { Ok::<_, Infallible>(Response::new(Full::new(answer))) }
        });
        tokio::spawn(serve(listener, service, async || pending().await));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let before = Instant::now();
        gone.notified().await;
        let waited = before.elapsed();
        assert!(waited >= WRITE_TIMEOUT && waited < WRITE_TIMEOUT * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_gets_it_all() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let mut ours = impatient(ours);
        let reading = async {
            for _ in 0..4 {
                sleep(WRITE_TIMEOUT / 2).await;
                theirs.read_u8().await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(ours.write_all(b"1234"), reading);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_may_take_longer_than_its_head() {
        let (address, asked, _stop, _serving) = silent_server().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(request).await.unwrap();
        asked.notified().await;
        let mut answer = [0; 1];
        let read = timeout(HEAD_TIMEOUT * 100, stream.read(&mut answer)).await;
        assert!(read.is_err(), "the connection was closed");
    }
}
