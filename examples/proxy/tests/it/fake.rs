//! An upstream that says exactly what a test writes.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::within;

/// Listens, and gives each request to the test.
pub(crate) struct Upstream(TcpListener);

impl Upstream {
    pub(crate) async fn bind() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next request, on a connection of its own.
    pub(crate) async fn asked(&self) -> Asked {
        within("a request at the upstream", async {
            let (mut stream, _) = self.0.accept().await.unwrap();
            let mut bytes = Vec::new();
            let head = loop {
                assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
                if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    break String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
                }
            };
            let length = header(&head, "content-length").map_or(0, |n| n.parse().unwrap());
            while bytes.len() < length {
                assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
            }
            let body = String::from_utf8(bytes).unwrap();
            Asked { stream, head, body }
        })
        .await
    }

    /// Where the next connection comes from.
    pub(crate) async fn comes_from(&self) -> SocketAddr {
        let accepted = within("a connection to the upstream", self.0.accept()).await;
        accepted.unwrap().1
    }

    /// Answers the next request with a result and gives the request.
    pub(crate) async fn answers(&self) -> Asked {
        let mut asked = self.asked().await;
        asked.answer("").await;
        asked
    }
}

/// A request as it came to the upstream.
pub(crate) struct Asked {
    stream: TcpStream,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// A JSON-RPC result with more headers, each ended by CRLF. It is the last
    /// on its connection, so that the next request comes on a new one.
    pub(crate) async fn answer(&mut self, headers: &str) {
        let id = serde_json::from_str::<Value>(&self.body).unwrap()["id"].clone();
        let body = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } }).to_string();
        self.says("200 OK", headers, &body).await;
    }

    /// Anything as JSON, on a connection that ends with it.
    pub(crate) async fn says(&mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.write(&format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n{headers}\r\n{body}"
        ))
        .await;
    }

    /// Begins an event stream.
    pub(crate) async fn stream(&mut self) {
        self.write(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
    }

    /// One chunk of it.
    pub(crate) async fn chunk(&mut self, text: &str) {
        self.write(&format!("{:x}\r\n{text}\r\n", text.len())).await;
    }

    /// Waits until the proxy closes the connection.
    pub(crate) async fn left(mut self) {
        let mut rest = Vec::new();
        // A reset says the same as an orderly end.
        let _ = within("the proxy to leave", self.stream.read_to_end(&mut rest)).await;
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
