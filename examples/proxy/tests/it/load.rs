//! A server that can be killed, and clients of both eras that call all the time.
#![cfg(unix)]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::support::{Proxy, body, call, client, within};

const MODERN: &str = "2026-07-28";
const NOTICE: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}}"#;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A server that remembers what was called. It answers calls of `allowed-slow` by a stream
/// that ends once they may go on, and whoever listens by one that does not end.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    called: Arc<Mutex<Vec<String>>>,
    pub(crate) goes_on: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let called = Arc::default();
        let goes_on = watch::Sender::new(false);
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, serving) = serve(anywhere, &called, &goes_on).await;
        Self {
            address,
            called,
            goes_on,
            serving,
        }
    }

    /// Breaks every connection off, and accepts no other.
    pub(crate) async fn kill(&mut self) {
        self.serving.abort();
        let killed = within("the end of the server", &mut self.serving).await;
        assert!(killed.unwrap_err().is_cancelled());
    }

    pub(crate) async fn start_again(&mut self) {
        (_, self.serving) = serve(self.address, &self.called, &self.goes_on).await;
    }

    pub(crate) fn called(&self) -> Vec<String> {
        self.called.lock().unwrap().clone()
    }
}

async fn serve(
    address: SocketAddr,
    called: &Arc<Mutex<Vec<String>>>,
    goes_on: &watch::Sender<bool>,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (called, goes_on) = (Arc::clone(called), goes_on.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        answer(request, Arc::clone(&called), goes_on.subscribe())
    });
    let serving = tokio::spawn(async move {
        // They end with this task.
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = TokioIo::new(stream);
            connections.spawn(http1::Builder::new().serve_connection(stream, service.clone()));
        }
    });
    (address, serving)
}

async fn answer(
    request: Request<Incoming>,
    called: Arc<Mutex<Vec<String>>>,
    mut goes_on: watch::Receiver<bool>,
) -> Result<Response<Body>, hyper::Error> {
    if request.method() == Method::GET {
        return Ok(events(NOTICE.to_owned(), std::future::pending()));
    }
    let message = request.into_body().collect().await?.to_bytes();
    let message: Value = serde_json::from_slice(&message).unwrap();
    let id = &message["id"];
    if message["method"] == "subscriptions/listen" {
        let acknowledged = json!({
            "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
            "params": {
                "_meta": { "io.modelcontextprotocol/subscriptionId": id },
                "notifications": { "toolsListChanged": true },
            },
        });
        let first = acknowledged.to_string();
        return Ok(events(first, std::future::pending()));
    }
    let name = message["params"]["name"].as_str().unwrap().to_owned();
    called.lock().unwrap().push(name.clone());
    let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } }).to_string();
    if name.starts_with("allowed-slow") {
        return Ok(events(NOTICE.to_owned(), async move {
            let _ = goes_on.wait_for(|goes_on| *goes_on).await;
            answer
        }));
    }
    let answer = Full::from(answer).boxed_unsync();
    let answer = Response::builder()
        .header("content-type", "application/json")
        .body(answer);
    Ok(answer.unwrap())
}

/// A stream of two messages.
fn events(first: String, second: impl Future<Output = String> + Send + 'static) -> Response<Body> {
    let event = |message: String| {
        let event = format!("event: message\ndata: {message}\n\n");
        Ok::<_, Infallible>(Frame::data(Bytes::from(event)))
    };
    let first = event(first);
    let second = Box::pin(async move { event(second.await) });
    let both = stream::unfold((Some(first), Some(second)), async |(first, second)| match (
        first, second,
    ) {
        (Some(first), second) => Some((first, (None, second))),
        (None, Some(second)) => Some((second.await, (None, None))),
        (None, None) => None,
    });
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(StreamBody::new(both).boxed_unsync())
        .unwrap()
}

/// What one of many calls was answered.
pub(crate) struct Answered {
    pub(crate) name: String,
    modern: bool,
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answered {
    /// The text of an error, unless there is a result.
    pub(crate) fn error(&self) -> Option<&str> {
        self.body["error"]["message"].as_str()
    }

    pub(crate) fn is_passed(&self) -> bool {
        self.body["result"].is_object() && self.body["result"]["isError"] != true
    }

    /// What could not be recorded in time was refused because of that.
    pub(crate) fn is_unrecorded(&self) -> bool {
        self.body["error"]["data"]["rule"] == "(audit)"
    }
}

/// Clients of both eras that call all the time.
pub(crate) struct Load {
    answers: Arc<Mutex<Vec<Answered>>>,
    stops: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

const CLIENTS: u32 = 6;

impl Load {
    pub(crate) fn on(proxy: &Proxy, token: &str) -> Self {
        let (answers, stops) = (Arc::<Mutex<Vec<_>>>::default(), Arc::default());
        let mut clients = JoinSet::new();
        for first in 0..CLIENTS {
            let (answers, stops) = (Arc::clone(&answers), Arc::<AtomicBool>::clone(&stops));
            let (address, token) = (proxy.address, token.to_owned());
            clients.spawn(async move {
                let client = client();
                for index in (first..).step_by(CLIENTS as usize) {
                    let kind = if index % 5 == 0 { "denied" } else { "allowed" };
                    let name = format!("{kind}-{index}");
                    let modern = first % 2 == 1;
                    let request = asks(address, &token, &message(index, &name, modern));
                    // Nobody answers once the proxy has ended.
                    let Ok(response) = client.request(request).await else {
                        return;
                    };
                    let status = response.status().as_u16();
                    let Ok(body) = response.into_body().collect().await else {
                        return;
                    };
                    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
                    assert_eq!(body["id"], index, "{body}");
                    answers.lock().unwrap().push(Answered {
                        name,
                        modern,
                        status,
                        body,
                    });
                    if stops.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        Self {
            answers,
            stops,
            clients,
        }
    }

    /// Waits until each era has been answered like this so many times more.
    pub(crate) async fn goes_on(&self, times: usize, like_this: impl Fn(&Answered) -> bool) {
        let before = self.answers.lock().unwrap().len();
        within("answers", async {
            loop {
                let enough = [true, false].into_iter().all(|modern| {
                    let answers = self.answers.lock().unwrap();
                    let new = answers[before..].iter();
                    let of_era = new.filter(|one| one.modern == modern && like_this(one));
                    of_era.count() >= times
                });
                if enough {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Everything that was answered, once every client has stopped.
    pub(crate) async fn ends(self) -> Vec<Answered> {
        self.stops.store(true, Ordering::Relaxed);
        within("the clients", self.clients.join_all()).await;
        std::mem::take(&mut *self.answers.lock().unwrap())
    }
}

pub(crate) fn message(id: u32, name: &str, modern: bool) -> Value {
    let mut message = call(id, name);
    if modern {
        message["params"]["_meta"] = meta();
    }
    message
}

pub(crate) fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    })
}

/// A request with the headers of its era.
pub(crate) fn asks(proxy: SocketAddr, token: &str, message: &Value) -> Request<Full<Bytes>> {
    let mut request = Request::post(format!("http://{proxy}/mcp/one"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("authorization", format!("Bearer {token}"));
    if message["params"]["_meta"].is_object() {
        request = request
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", message["method"].as_str().unwrap());
        if let Some(name) = message["params"]["name"].as_str() {
            request = request.header("mcp-name", name);
        }
    }
    request.body(body(message)).unwrap()
}
