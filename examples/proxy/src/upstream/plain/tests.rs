//! Tests of the connections that are kept.

use std::{thread, time::Duration};

use super::*;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::yield_now,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn server() -> (TcpListener, Plain<Full<Bytes>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let uri = Uri::try_from(format!("http://{address}/mcp?key=1")).unwrap();
    let plain = Plain::new(Connector::to(&uri).unwrap(), &uri).unwrap();
    (listener, plain)
}

/// The next request, without a body.
async fn request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    String::from_utf8(read).unwrap()
}

fn ask(plain: &Plain<Full<Bytes>>) -> Asked {
    let request = Request::post("http://elsewhere/other").header(HOST, "elsewhere");
    plain.ask(request.body(Full::default()).unwrap())
}

/// Makes a call that is answered, until its connection waits for another one.
async fn call(plain: &Plain<Full<Bytes>>) {
    let body = ask(plain).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
    while lock(&plain.0.kept).idle.is_empty() {
        yield_now().await;
    }
}

/// Takes a connection on which a call is answered.
async fn accept(listener: &TcpListener) -> TcpStream {
    accept_and_say(listener, ANSWER).await
}

/// The same, if the answer is this.
async fn accept_and_say(listener: &TcpListener, answer: &[u8]) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    request(&mut stream).await;
    stream.write_all(answer).await.unwrap();
    stream
}

#[tokio::test]
async fn calls_use_one_connection_after_each_other_and_name_the_server_alone() {
    let (listener, plain) = server().await;
    let (mut stream, ()) = tokio::join!(accept(&listener), call(&plain));
    for _ in 0..3 {
        let answering = async {
            let head = request(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
            head
        };
        let (head, ()) = tokio::join!(answering, call(&plain));
        assert!(head.starts_with("POST /mcp?key=1 HTTP/1.1\r\n"), "{head}");
        let address = listener.local_addr().unwrap();
        assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
        assert!(!head.contains("elsewhere"), "{head}");
    }
    assert!(listener.accept().now_or_never().is_none());
}

#[tokio::test]
async fn a_connection_that_was_closed_is_not_used() {
    let (listener, plain) = server().await;
    let (stream, ()) = tokio::join!(accept(&listener), call(&plain));
    drop(stream);
    while lock(&plain.0.kept).idle[0].connection.is_ready() {
        yield_now().await;
    }
    tokio::join!(accept(&listener), call(&plain));
}

#[tokio::test]
async fn what_a_closed_connection_did_not_take_is_sent_on_another() {
    let (listener, plain) = server().await;
    let (stream, ()) = tokio::join!(accept(&listener), call(&plain));
    let mut soon = std::pin::pin!(sleep(Duration::from_millis(1)));
    assert!((&mut soon).now_or_never().is_none());
    drop(stream);
    // So that this is woken together with whoever drives the connection, and first.
    thread::sleep(Duration::from_millis(20));
    soon.await;
    assert!(lock(&plain.0.kept).idle[0].connection.is_ready());
    let (_second, answer) = tokio::join!(accept(&listener), ask(&plain));
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn what_may_have_been_seen_is_not_sent_again() {
    let (listener, plain) = server().await;
    let (mut stream, ()) = tokio::join!(accept(&listener), call(&plain));
    let breaking_off = async {
        request(&mut stream).await;
        drop(stream);
    };
    let ((), answer) = tokio::join!(breaking_off, ask(&plain));
    assert!(
        matches!(answer, Err(Unanswered::BrokenOff(_))),
        "{answer:?}"
    );
    assert!(listener.accept().now_or_never().is_none());
}

#[tokio::test]
async fn nobody_who_listens_is_a_server_that_has_seen_nothing() {
    let (listener, plain) = server().await;
    drop(listener);
    let answer = ask(&plain).await;
    assert!(
        matches!(answer, Err(Unanswered::Unreachable(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_connection_on_which_an_answer_still_comes_is_for_no_other_call() {
    let (listener, plain) = server().await;
    let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun";
    let (mut first, answer) = tokio::join!(accept_and_say(&listener, begun), ask(&plain));
    tokio::join!(accept(&listener), call(&plain));
    // Whoever lets go of it ends it.
    drop(answer);
    assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(lock(&plain.0.kept).idle.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_too_long_is_closed() {
    let (listener, plain) = server().await;
    for _ in 0..2 {
        let (mut stream, ()) = tokio::join!(accept(&listener), call(&plain));
        let before = Instant::now();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        let waited = before.elapsed();
        assert!(waited >= IDLE && waited < IDLE * 2, "{waited:?}");
    }
}

#[tokio::test]
async fn what_a_server_says_unasked_answers_no_later_call() {
    let (listener, plain) = server().await;
    let unasked = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno";
    let both = [ANSWER, unasked].concat();
    let (_first, answer) = tokio::join!(accept_and_say(&listener, &both), ask(&plain));
    let body = answer.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "ok");
    tokio::join!(accept(&listener), call(&plain));
}

#[tokio::test]
async fn a_connection_on_which_a_request_still_goes_is_for_no_other_call() {
    let (listener, plain) = server().await;
    // More than there is room for on the way.
    let long = Full::from(vec![0; 32 << 20]);
    let asked = plain.ask(Request::post("/").body(long).unwrap());
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0]).await.unwrap(), 0);
        stream.write_all(ANSWER).await.unwrap();
        stream
    };
    let (_first, answer) = tokio::join!(answering, asked);
    let body = answer.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "ok");
    tokio::join!(accept(&listener), call(&plain));
    assert_eq!(lock(&plain.0.kept).idle.len(), 1);
}

// Each call needs one. Were the request held twice, most allocators would not have it at hand.
#[tokio::test]
async fn what_waits_for_an_answer_is_small() {
    let (listener, plain) = server().await;
    let _ = tokio::join!(call(&plain), accept(&listener));
    let asked = ask(&plain);
    assert!(size_of_val(&*asked) <= 512, "{}", size_of_val(&*asked));
}
