//! A server that gives every call the same answer at once, and whoever listens a stream
//! that does not end.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Either, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, runtime, time::sleep};
use tower::BoxError;

/// How often those who listen are told something.
const INTERVAL: Duration = Duration::from_secs(10);

const NOTICE: &[u8] = b"event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\
    \"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"still here\"}}\n\n";

/// What is around the text of an answer.
const BEGINNING: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":""#;
const END: &str = r#""}],"isError":false}}"#;

type Answer = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

/// Answers on one thread, so that it leaves the other processor to whoever asks.
pub(crate) fn run(address: &str, bytes: &str) -> Result<(), BoxError> {
    let address: SocketAddr = address.parse()?;
    let length = bytes.parse::<usize>()?;
    let text = "x".repeat(length.saturating_sub(BEGINNING.len() + END.len()));
    let answer = Bytes::from([BEGINNING, &*text, END].concat());
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(address, answer))
}

async fn serve(address: SocketAddr, answer: Bytes) -> Result<(), BoxError> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        let service = service_fn(move |request| respond(request, answer.clone()));
        tokio::spawn(async move {
            let http = auto::Builder::new(TokioExecutor::new());
            // Whoever asks may go at any time.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: Bytes,
) -> Result<Response<Answer>, hyper::Error> {
    let listens = request.method() == Method::GET;
    // The whole of it, as any server would read it.
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let (kind, body) = if listens {
        ("text/event-stream", Either::Right(events()))
    } else {
        ("application/json", Either::Left(Full::new(answer)))
    };
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn events() -> UnsyncBoxBody<Bytes, Infallible> {
    let events = stream::unfold(true, |is_first| async move {
        if !is_first {
            sleep(INTERVAL).await;
        }
        let event = Frame::data(Bytes::from_static(NOTICE));
        Some((Ok::<_, Infallible>(event), false))
    });
    StreamBody::new(events).boxed_unsync()
}
