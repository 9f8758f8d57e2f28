//! Real servers and real calls, over the loopback interface.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tower::{BoxError, Service};

use super::mcp::Log;
use super::{call, list, soon};

/// A server that stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// A server that somebody else runs on the listener.
    pub(crate) async fn run<F>(serve: impl FnOnce(TcpListener) -> F) -> Self
    where
        F: Future + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(listener);
        let task = tokio::spawn(async move {
            server.await;
        });
        Self { address, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves with hyper-util, HTTP/1 and HTTP/2.
pub(crate) async fn serve<S, R>(service: S) -> Server
where
    S: Service<Request<Incoming>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    Server::run(|listener| async move {
        // Connections end with the server.
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            connections.spawn(async move {
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
    .await
}

pub(crate) fn http1() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

pub(crate) fn http2() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}

pub(crate) fn post(url: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .body(Full::new(body.into()))
        .unwrap()
}

pub(crate) fn post_message(url: &str, message: &Value) -> Request<Full<Bytes>> {
    post(url, message.to_string())
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn read<R>(response: http::Response<R>) -> Self
    where
        R: Body,
        R::Error: std::fmt::Debug,
    {
        let (head, body) = response.into_parts();
        let body = soon(body.collect()).await.unwrap().to_bytes();
        Self {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    /// The JSON-RPC message in the body, or in the first event that has one.
    pub(crate) fn message(&self) -> Value {
        let media_type = self.headers[header::CONTENT_TYPE].to_str().unwrap();
        let text = std::str::from_utf8(&self.body).unwrap();
        match media_type {
            "text/event-stream" => text
                .lines()
                .filter_map(|line| line.strip_prefix("data: "))
                .find_map(|data| serde_json::from_str(data).ok())
                .unwrap_or_else(|| panic!("no message in {text:?}")),
            "application/json" => serde_json::from_str(text).unwrap(),
            other => panic!("{other}: {text:?}"),
        }
    }

    pub(crate) fn text(&self) -> String {
        let message = self.message();
        let text = message["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text in {message}"))
            .to_owned()
    }

    /// The names in the list of tools.
    pub(crate) fn tools(&self) -> Vec<String> {
        let message = self.message();
        let tools = message["result"]["tools"].as_array();
        tools
            .unwrap_or_else(|| panic!("no tools in {message}"))
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn is_error(&self) -> bool {
        self.message()["result"]["isError"] == true
    }
}

pub(crate) async fn send(request: Request<Full<Bytes>>) -> Answer {
    send_with(http1(), request).await
}

pub(crate) async fn send_with<S, Q, R>(mut client: S, request: Request<Q>) -> Answer
where
    S: Service<Request<Q>, Response = http::Response<R>>,
    S::Error: std::fmt::Debug,
    R: Body,
    R::Error: std::fmt::Debug,
{
    soon(std::future::poll_fn(|context| client.poll_ready(context)))
        .await
        .unwrap();
    Answer::read(soon(client.call(request)).await.unwrap()).await
}

/// A tool that is allowed runs, one that is denied does not and says why, one
/// that is hidden is not in the list and does not run.
pub(crate) async fn check(url: &str, log: &Log) {
    check_with(http1(), url, log, |_| {}).await;
}

pub(crate) async fn check_with<S, R>(
    client: S,
    url: &str,
    log: &Log,
    adjust: impl Fn(&mut HeaderMap),
) where
    S: Service<Request<Full<Bytes>>, Response = http::Response<R>> + Clone,
    S::Error: std::fmt::Debug,
    R: Body,
    R::Error: std::fmt::Debug,
{
    let send = async |message: Value| {
        let mut request = post_message(url, &message);
        adjust(request.headers_mut());
        let answer = send_with(client.clone(), request).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.message()["id"], message["id"]);
        answer
    };
    assert_eq!(log.take(), [""; 0]);

    let allowed = send(call("read")).await;
    assert_eq!(allowed.text(), "read has run");
    assert!(!allowed.is_error());
    assert_eq!(log.take(), ["read"]);

    let denied = send(call("write")).await;
    assert!(denied.is_error(), "{denied:?}");
    assert!(denied.text().contains("Writing is for people."));
    assert!(denied.text().contains("[rule /tools/write/action]"));

    let hidden = send(call("secret")).await;
    assert!(hidden.is_error(), "{hidden:?}");
    let unknown = send(call("nosuch")).await;
    assert_eq!(
        hidden.text().replace("secret", "…"),
        unknown.text().replace("nosuch", "…")
    );
    assert_eq!(log.take(), [""; 0], "what was refused must not run");

    assert_eq!(send(list()).await.tools(), ["read", "write"]);
}
