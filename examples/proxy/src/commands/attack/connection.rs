//! HTTP/1.1 as bytes on a socket, to send what no client library would.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// How long an answer may take, and the sending of its request.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for an answer more, behind one that is there.
const MORE: Duration = Duration::from_secs(2);

/// The longest head of an answer that is read.
const LONGEST_HEAD: usize = 64 << 10;

/// How much of the body of an answer is read.
const LONGEST_BODY: usize = 1 << 20;

/// A connection on which bytes are sent and answers are read.
pub(super) struct Connection {
    input: Input,
    output: OwnedWriteHalf,
    /// Whether everything was sent, and everything read that is an answer to it.
    whole: bool,
}

/// What comes in on a connection.
struct Input {
    stream: OwnedReadHalf,
    /// What was read and belongs to no answer yet.
    rest: Vec<u8>,
}

/// An answer, with its body freed from the framing, as far as it was read.
#[derive(Default)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Whether the other side goes on with this connection.
    keeps_alive: bool,
    /// Whether the body was read to its end.
    ended: bool,
}

/// What is shown of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    status: u16,
    /// Of a JSON-RPC error.
    code: Option<i64>,
    /// Whether it is the result of a tool that is an error.
    tool_error: bool,
    /// Whether it is any result.
    result: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (stream, output) = stream.into_split();
        let rest = Vec::new();
        Self {
            input: Input { stream, rest },
            output,
            whole: true,
        }
    }

    /// Sends bytes until there is an answer; `None` if there comes none.
    pub(super) async fn exchange(
        &mut self,
        bytes: &[u8],
        verb: &str,
        patience: Duration,
    ) -> Option<Answer> {
        let Self { input, output, .. } = self;
        let mut answer = None;
        let mut sent = false;
        let writing = async {
            // Who refuses a request need not read it.
            sent = output.write_all(bytes).await.is_ok();
            std::future::pending::<()>().await;
        };
        let _ = timeout(patience, async {
            tokio::select! {
                () = input.read(verb, &mut answer) => {}
                () = writing => {}
            }
        })
        .await;
        self.whole &= sent;
        self.keep(answer)
    }

    /// The next answer; `None` if there comes none.
    pub(super) async fn answer(&mut self, verb: &str) -> Option<Answer> {
        let mut answer = None;
        let _ = timeout(MORE, self.input.read(verb, &mut answer)).await;
        self.keep(answer)
    }

    fn keep(&mut self, answer: Option<Answer>) -> Option<Answer> {
        self.whole &= answer
            .as_ref()
            .is_some_and(|answer| answer.ended && answer.keeps_alive);
        answer
    }

    /// Whether what is sent next begins a new request.
    pub(super) fn goes_on(&self) -> bool {
        self.whole
    }
}

impl Input {
    /// Reads more; whether there was more.
    async fn fill(&mut self) -> bool {
        // A connection that was reset has ended, too.
        self.rest.len() <= LONGEST_HEAD + LONGEST_BODY
            && matches!(self.stream.read_buf(&mut self.rest).await, Ok(bytes) if bytes > 0)
    }

    /// What comes before the mark, which is dropped.
    async fn take_until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.rest.windows(mark.len()).position(|at| at == mark);
            if let Some(at) = found {
                let before = self.rest.drain(..at).collect();
                self.rest.drain(..mark.len());
                return Some(before);
            }
            if self.rest.len() > LONGEST_HEAD || !self.fill().await {
                return None;
            }
        }
    }

    /// So many bytes, or as many as there are.
    async fn take(&mut self, size: usize) -> Vec<u8> {
        while self.rest.len() < size && self.fill().await {}
        let size = size.min(self.rest.len());
        self.rest.drain(..size).collect()
    }

    /// Reads an answer. What is there of it stays when the time is up.
    async fn read(&mut self, verb: &str, answer: &mut Option<Answer>) {
        let head = loop {
            let Some(head) = self.take_until(b"\r\n\r\n").await else {
                return;
            };
            match Answer::of_head(&String::from_utf8_lossy(&head)) {
                // `100 Continue` is not the answer.
                Some(head) if (100..200).contains(&head.status) && head.status != 101 => {}
                Some(head) => break head,
                None => return,
            }
        };
        let answer = answer.insert(head);
        answer.ended = if verb == "HEAD" || matches!(answer.status, 204 | 304) {
            true
        } else if answer.status == 101 || answer.is_stream() && verb == "GET" {
            // It lasts as long as whoever opened it.
            false
        } else if answer.header("transfer-encoding").is_some() {
            self.read_chunks(answer).await.is_some()
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap_or(usize::MAX);
            answer.body = self.take(length.min(LONGEST_BODY)).await;
            answer.body.len() == length
        } else {
            while self.rest.len() < LONGEST_BODY && !answer.has_message() && self.fill().await {
                answer.body.append(&mut self.rest);
            }
            answer.body.append(&mut self.rest);
            false
        };
    }

    /// `None` if it does not end properly.
    async fn read_chunks(&mut self, answer: &mut Answer) -> Option<()> {
        loop {
            let size = self.take_until(b"\r\n").await?;
            let size = std::str::from_utf8(&size).ok()?.split(';').next()?.trim();
            let size = usize::from_str_radix(size, 16).ok()?;
            if size == 0 {
                self.take_until(b"\r\n").await?;
                return Some(());
            }
            if size > LONGEST_BODY.checked_sub(answer.body.len())? {
                return None;
            }
            answer.body.extend(self.take(size).await);
            self.take_until(b"\r\n").await?;
            // A stream may stay open although everything was said.
            if answer.is_stream() && answer.has_message() {
                return None;
            }
        }
    }
}

impl Answer {
    fn of_head(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut start = lines.next()?.split(' ');
        let version = start.next()?;
        let status = start.next()?.parse().ok()?;
        let mut answer = Self {
            status,
            headers: lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            ..Self::default()
        };
        let closes = answer.header("connection").is_some_and(|value| {
            let mut options = value.split(',');
            options.any(|option| option.trim().eq_ignore_ascii_case("close"))
        });
        answer.keeps_alive = version == "HTTP/1.1" && !closes;
        Some(answer)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        Some(value)
    }

    fn is_stream(&self) -> bool {
        self.header("content-type")
            .is_some_and(|value| value.starts_with("text/event-stream"))
    }

    /// The JSON-RPC response in it.
    fn message(&self) -> Option<Value> {
        let says = |message: &Value| {
            message.get("result").is_some()
                || message.get("error").is_some()
                // What a subscription begins with, which does not end.
                || message.get("method").is_some_and(|method| {
                    method == "notifications/subscriptions/acknowledged"
                })
        };
        let read = |bytes: &[u8]| serde_json::from_slice(bytes).ok().filter(says);
        if !self.is_stream() {
            return read(&self.body);
        }
        let lines = self.body.split(|byte| matches!(byte, b'\r' | b'\n'));
        lines
            .filter_map(|line| line.strip_prefix(b"data:"))
            .find_map(read)
    }

    fn has_message(&self) -> bool {
        self.message().is_some()
    }

    /// Whether it is the response to the request with this number as its id.
    pub(super) fn is_to(&self, number: u64) -> bool {
        self.message()
            .is_some_and(|message| message.get("id").and_then(Value::as_u64) == Some(number))
    }

    pub(super) fn summary(&self) -> Summary {
        let message = self.message().unwrap_or_default();
        let result = message.get("result");
        let is_error = result.and_then(|result| result.get("isError"));
        Summary {
            status: self.status,
            code: message.pointer("/error/code").and_then(Value::as_i64),
            tool_error: is_error == Some(&Value::Bool(true)),
            result: result.is_some(),
        }
    }
}

impl Summary {
    /// Whether it says that nothing was done.
    pub(super) fn refuses(&self) -> bool {
        !(200..300).contains(&self.status) || self.code.is_some() || self.tool_error
    }

    /// What it is to a person.
    pub(super) fn text(&self) -> String {
        match (self.status, self.code) {
            (200, Some(code)) => format!("refused: error {code}"),
            (status, Some(code)) => format!("refused: HTTP {status}, error {code}"),
            _ if self.tool_error => "refused: tool error".to_owned(),
            (status, None) if self.refuses() => format!("refused: HTTP {status}"),
            _ if self.result => "a result".to_owned(),
            (status, None) => format!("HTTP {status}"),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "status": self.status,
            "code": self.code,
            "toolError": self.tool_error,
            "result": self.result,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// What is read of an answer of these bytes, and whether the connection goes on.
    async fn read(verb: &str, bytes: &'static [u8]) -> (Option<Summary>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let other_side = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(bytes).await.unwrap();
            // Open until this side has what it wants.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let mut connection = Connection::new(stream);
        let answer = connection.exchange(b"x", verb, PATIENCE).await;
        let goes_on = connection.goes_on();
        drop(connection);
        other_side.await.unwrap();
        (answer.map(|answer| answer.summary()), goes_on)
    }

    fn summary(status: u16, code: Option<i64>, tool_error: bool, result: bool) -> Option<Summary> {
        Some(Summary {
            status,
            code,
            tool_error,
            result,
        })
    }

    #[tokio::test]
    async fn answers_are_read_in_every_framing() {
        let result = summary(200, None, false, true);
        for (bytes, expected, goes_on) in [
            (
                &b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"result\":{}}"[..],
                result,
                true,
            ),
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: Close\r\n\r\n",
                summary(404, None, false, false),
                false,
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\n{\"err\r\n13\r\nor\":{\"code\":-31403}\r\n1\r\n}\r\n0\r\n\r\n",
                summary(200, Some(-31403), false, false),
                true,
            ),
            // A stream that does not end.
            (
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n28\r\ndata: {\"result\":{\"isError\":true},\"id\":1}\r\n",
                summary(200, None, true, true),
                false,
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"result\":{}}\n\n",
                result,
                false,
            ),
        ] {
            let expected = (expected, goes_on);
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(read("POST", bytes).await, expected, "{shown}");
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_body_that_does_not_come() {
        let head = b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 7\r\n\r\n";
        let refused = summary(405, None, false, false);
        assert_eq!(read("HEAD", head).await, (refused, true));
        let stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hello\n\n";
        let opened = summary(200, None, false, false);
        assert_eq!(read("GET", stream).await, (opened, false));
    }
}
