//! How the proxy stops.
#![cfg(unix)]

use tokio::net::TcpStream;

use crate::fake::Upstream;
use crate::support::{Proxy, body, call, open, reads, send};

#[tokio::test]
async fn sigterm_finishes_an_open_call() {
    let upstream = Upstream::bind().await;
    let mut proxy = Proxy::serve(upstream.address(), &[]).await;
    let address = proxy.address;
    let request = proxy.request().body(body(&call(1, "a"))).unwrap();
    let waiting = tokio::spawn(send(request));
    let mut asked = upstream.asked().await;

    proxy.signal("TERM").await;
    proxy.logs("stopping").await;
    // Nobody new is let in while the call is finished.
    assert!(TcpStream::connect(address).await.is_err());
    asked.answer("").await;
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json()["id"], 1);
    assert_eq!(proxy.end().await.code(), Some(0));
}

/// As a service manager sends it for another policy, which is read anyway.
#[tokio::test]
async fn sighup_ends_nothing() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    proxy.signal("HUP").await;
    proxy.logs("SIGHUP changes nothing").await;
    let call = call(1, "a");
    let (_, answer) = tokio::join!(upstream.answers(), proxy.post(&call));
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn an_idle_proxy_ends_at_once() {
    let upstream = Upstream::bind().await;
    for signal in ["TERM", "INT"] {
        let mut proxy = Proxy::serve(upstream.address(), &[]).await;
        // A connection that never says anything is not waited for.
        let _silent = TcpStream::connect(proxy.address).await.unwrap();
        proxy.signal(signal).await;
        assert_eq!(proxy.end().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_a_stream() {
    let upstream = Upstream::bind().await;
    let mut proxy = Proxy::serve(upstream.address(), &[]).await;
    let request = proxy.request().body(body(&call(1, "a"))).unwrap();
    let (mut asked, mut response) = tokio::join!(
        async {
            let mut asked = upstream.asked().await;
            asked.stream().await;
            asked
        },
        open(request)
    );
    proxy.signal("INT").await;
    proxy.logs("stopping").await;
    // The stream goes on after the first one.
    asked.chunk(": here\n\n").await;
    reads(&mut response, ": here\n\n").await;
    proxy.signal("INT").await;
    assert_eq!(proxy.end().await.code(), Some(130));
}
