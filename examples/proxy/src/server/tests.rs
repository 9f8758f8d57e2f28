//! Tests of how connections are accepted, answered and let go.

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

impl Service<Request<u8>> for NotYet {
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

    fn call(&mut self, request: Request<u8>) -> Self::Future {
        assert_eq!(self.0, 0, "it is not ready");
        future::ok(request.into_body())
    }
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_waited_for() {
    for often in 0..3 {
        let service = Mutex::new(NotYet(often));
        let answer = timeout(Duration::from_secs(60), ask(&service, Request::new(7))).await;
        assert_eq!(answer, Ok(Ok(7)));
    }
}

#[tokio::test]
async fn a_call_that_panics_ends_no_other_on_an_http2_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tower::service_fn(|request: Request<Incoming>| {
        assert_ne!(request.uri().path(), "/panic");
        future::ok::<_, Infallible>(Response::new(Full::<Bytes>::from("well")))
    });
    tokio::spawn(serve(listener, service, async || pending().await));
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (client, connection) = shaken.await.unwrap();
    tokio::spawn(connection);
    let mut asked = Vec::new();
    for path in ["panic", "well", "panic", "well"] {
        let request = Request::post(format!("http://localhost/{path}"));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        asked.push(client.clone().send_request(request).await.is_ok());
    }
    assert_eq!(asked, [false, true, false, true]);
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
                let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
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
