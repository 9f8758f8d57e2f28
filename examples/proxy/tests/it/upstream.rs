//! The way to the upstream and back.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use tokio::net::TcpListener;

use crate::fake::Upstream;
use crate::support::{
    ALLOW_ALL, Proxy, body, call, client, command, file, open, reads, send, within,
};

#[tokio::test]
async fn a_call_goes_through_unchanged() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(
        upstream.address(),
        &["--header", "X-Api-Key: one", "--header", "x-api-key:two"],
    )
    .await;
    let message = call(7, "a");
    let request = proxy
        .request()
        .uri(format!("http://{}/mcp?key=caller", proxy.address))
        .header("x-api-key", "caller")
        .body(body(&message))
        .unwrap();
    let (asked, answer) = tokio::join!(upstream.answers(), send(request));

    assert_eq!(asked.body, message.to_string());
    // The operator's path and query; the caller's were not judged.
    assert!(
        asked
            .head
            .starts_with("POST /upstream/mcp?key=k HTTP/1.1\r\n"),
        "{}",
        asked.head
    );
    let host = upstream.address().to_string();
    assert_eq!(asked.header("host"), Some(host.as_str()));
    let keys: Vec<_> = asked
        .head
        .lines()
        .filter_map(|line| line.strip_prefix("x-api-key: "))
        .collect();
    assert_eq!(keys, ["one", "two"]);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json()["id"], 7);
}

#[tokio::test]
async fn http2_is_spoken_with_those_who_know() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Full<Bytes>>();
    let request = proxy.request().body(body(&call(1, "a"))).unwrap();
    let (asked, answer) = tokio::join!(upstream.answers(), client.request(request));
    assert!(
        asked.head.starts_with("POST /upstream/mcp"),
        "{}",
        asked.head
    );
    assert_eq!(answer.unwrap().status(), 200);

    // The name is in `:authority` then.
    let evil = Request::post(format!("http://{}/mcp", proxy.address))
        .header("host", "evil.example")
        .body(body(&call(1, "a")))
        .unwrap();
    let answer = within("an answer", client.request(evil)).await.unwrap();
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_clear_error() {
    // A port that was free a moment ago.
    let address = Upstream::bind().await.address();
    let proxy = Proxy::serve(address, &[]).await;
    let answer = proxy.post(&call(5, "a")).await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    assert_eq!(body["jsonrpc"], "2.0");
    assert_eq!(body["error"]["code"], -32603);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("cannot be reached"), "{message}");
    // Whoever calls can do nothing about how the proxy was started.
    assert!(!message.contains("--"), "{message}");
    proxy.logs("no answer from the upstream").await;
}

#[tokio::test]
async fn an_upstream_that_breaks_off_may_have_run_the_call() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    let message = call(5, "a");
    let breaks_off = async { drop(upstream.asked().await) };
    let (answer, ()) = tokio::join!(proxy.post(&message), breaks_off);
    assert_eq!(answer.status(), 502);
    let body = answer.json();
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("may have run"), "{message}");
}

#[tokio::test]
async fn events_are_passed_on_as_they_come() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    let request = proxy.request().body(body(&call(1, "a"))).unwrap();
    let (mut asked, mut response) = tokio::join!(
        async {
            let mut asked = upstream.asked().await;
            asked.stream().await;
            asked
        },
        open(request)
    );
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    // Each one arrives although the stream then goes quiet.
    for n in 0..3 {
        let progress = json!({
            "jsonrpc": "2.0", "method": "notifications/progress",
            "params": { "progressToken": 1, "progress": n },
        });
        let event = format!("data: {progress}\n\n");
        asked.chunk(&event).await;
        reads(&mut response, &event).await;
    }
    asked.write("0\r\n\r\n").await;
    let rest = within("the end", response.into_body().collect()).await;
    assert_eq!(rest.unwrap().to_bytes(), "");
}

#[tokio::test]
async fn a_caller_that_leaves_ends_the_upstream_stream() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    let client = client();
    let request = proxy.request().body(body(&call(1, "a"))).unwrap();
    let (mut asked, response) = tokio::join!(
        async {
            let mut asked = upstream.asked().await;
            asked.stream().await;
            asked
        },
        client.request(request)
    );
    let mut response = response.unwrap();
    asked.chunk(": here\n\n").await;
    reads(&mut response, ": here\n\n").await;
    drop((response, client));
    asked.left().await;
}

#[tokio::test]
async fn a_caller_that_leaves_while_it_waits_cancels_the_call() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    let client = client();
    let request = proxy.request().body(body(&call(1, "a"))).unwrap();
    let waiting = tokio::spawn(client.request(request));
    let asked = upstream.asked().await;
    waiting.abort();
    drop(client);
    asked.left().await;
}

#[tokio::test]
async fn headers_of_one_connection_stay_on_it() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    let request = proxy
        .request()
        .header(
            "connection",
            "keep-alive, X-Private , te, mcp-session-id, content-type",
        )
        .header("mcp-session-id", "s1")
        .header("x-private", "request")
        .header("keep-alive", "timeout=9")
        .header("te", "trailers")
        .header("upgrade", "h2c")
        .header("proxy-connection", "keep-alive")
        .header("proxy-authorization", "Basic Y2FsbGVy")
        .header("x-public", "request")
        .body(body(&call(1, "a")))
        .unwrap();
    let answers = async {
        let mut asked = upstream.asked().await;
        asked
            .answer(
                "connection: x-secret\r\nx-secret: response\r\nkeep-alive: timeout=9\r\n\
                 proxy-authenticate: Basic\r\nupgrade: h2c\r\nx-open: response\r\n\
                 alt-svc: h3=\":443\"\r\n",
            )
            .await;
        asked
    };
    let (asked, answer) = tokio::join!(answers, send(request));
    for name in [
        "x-private",
        "keep-alive",
        "te",
        "upgrade",
        "proxy-connection",
        "proxy-authorization",
        "connection",
    ] {
        assert_eq!(asked.header(name), None, "{name} reached the upstream");
    }
    assert_eq!(asked.header("x-public"), Some("request"));
    // Not to be had removed: the policy layer has looked at these.
    assert_eq!(asked.header("mcp-session-id"), Some("s1"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(answer.status(), 200);
    for name in [
        "x-secret",
        "keep-alive",
        "proxy-authenticate",
        "upgrade",
        "alt-svc",
    ] {
        assert_eq!(answer.header(name), None, "{name} reached the caller");
    }
    assert_eq!(answer.header("x-open"), Some("response"));
}

#[tokio::test]
async fn nothing_of_a_caller_or_a_token_is_in_the_most_talkative_log() {
    let upstream = Upstream::bind().await;
    let policy = file("allow-all.json", ALLOW_ALL);
    let url = format!("http://{}/mcp?key=query-secret", upstream.address());
    let proxy = Proxy::start(
        &[
            "serve",
            "--listen=127.0.0.1:0",
            "--policy",
            policy.to_str().unwrap(),
            "--upstream",
            &url,
            "--header=authorization: Bearer operator-secret",
        ],
        "trace",
    )
    .await;
    let request = proxy
        .request()
        .uri(format!("http://{}/mcp?q=caller-query", proxy.address))
        .header("x-api-key", "caller-secret")
        .body(body(&call(1, "a")))
        .unwrap();
    let (_, answer) = tokio::join!(upstream.answers(), send(request));
    assert_eq!(answer.status(), 200);
    proxy.logs("answered").await;
    let log = proxy.log();
    for secret in [
        "query-secret",
        "operator-secret",
        "caller-secret",
        "caller-query",
        "argument-value",
    ] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}

/// Vouches for `localhost`, and the world does not know it.
const AUTHORITY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/localhost/certificate.pem"
);

/// A server with a certificate that nobody but that file vouches for.
async fn of_a_company() -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(AUTHORITY).unwrap();
    let key = include_bytes!("../localhost/key.pem");
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::from_pem_slice(key).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever does not trust it goes away.
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let service = service_fn(async |_: Request<Incoming>| {
                let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [] } });
                let answer = Response::builder()
                    .header("content-type", "application/json")
                    .body(Full::<Bytes>::from(answer.to_string()));
                Ok::<_, Infallible>(answer.unwrap())
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn a_server_is_trusted_if_the_machine_does_that() {
    let address = of_a_company().await;
    let policy = file("policy.json", ALLOW_ALL);
    let upstream = format!("https://localhost:{}/mcp", address.port());
    let args = ["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream];
    let args = [&args[..], &["--policy", policy.to_str().unwrap()]].concat();
    let proxy = Proxy::start(&args, "info").await;
    assert_eq!(proxy.post(&call(1, "a")).await.status(), 502);
    let mut trusting = command(&args);
    let proxy = Proxy::spawn(trusting.env("SSL_CERT_FILE", AUTHORITY)).await;
    let answer = proxy.post(&call(1, "a")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text);
}
