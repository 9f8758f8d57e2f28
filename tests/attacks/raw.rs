//! HTTP/1.1 as bytes on a socket, so that a test can send what no client
//! library would.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::support::soon;

/// A connection on which bytes are sent and answers are read.
#[derive(Debug)]
pub(crate) struct Connection {
    input: OwnedReadHalf,
    output: OwnedWriteHalf,
    /// What was read and belongs to no answer yet.
    rest: Vec<u8>,
    /// Whether everything was sent that was to be sent.
    whole: bool,
}

/// An answer, with its body freed from the framing.
#[derive(Clone, Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (input, output) = stream.into_split();
        Self {
            input,
            output,
            rest: Vec::new(),
            whole: true,
        }
    }

    /// Sends bytes, whatever becomes of them.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.whole &= soon(self.output.write_all(bytes)).await.is_ok();
    }

    /// Sends bytes until there is an answer; `None` if the connection ends
    /// without one.
    pub(crate) async fn exchange(&mut self, bytes: &[u8], verb: &str) -> Option<RawAnswer> {
        let Self {
            input,
            output,
            rest,
            whole,
        } = self;
        let mut sent = false;
        let writing = async {
            sent = output.write_all(bytes).await.is_ok();
            std::future::pending::<()>().await;
        };
        let answer = soon(async {
            tokio::select! {
                answer = read_answer(input, rest, verb) => answer,
                () = writing => None,
            }
        })
        .await;
        *whole &= sent;
        answer
    }

    /// The next answer; `None` if the connection ends without one.
    pub(crate) async fn answer(&mut self) -> Option<RawAnswer> {
        soon(read_answer(&mut self.input, &mut self.rest, "POST")).await
    }

    /// Says that nothing more is sent.
    pub(crate) async fn end(&mut self) {
        let _ = soon(self.output.shutdown()).await;
    }

    /// Whether what is sent next begins a new request.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Everything that comes until the other side ends the connection.
    pub(crate) async fn until_end(mut self) -> Vec<u8> {
        while soon(fill(&mut self.input, &mut self.rest)).await {}
        self.rest
    }

    /// Waits until these bytes have arrived.
    pub(crate) async fn until(&mut self, bytes: &[u8]) -> bool {
        loop {
            if let Some(at) = find(&self.rest, bytes) {
                self.rest.drain(..at + bytes.len());
                return true;
            }
            if !soon(fill(&mut self.input, &mut self.rest)).await {
                return false;
            }
        }
    }
}

impl RawAnswer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        Some(value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the other side goes on with this connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.header("connection") != Some("close")
    }
}

/// Reads more; whether there was more.
async fn fill(input: &mut OwnedReadHalf, rest: &mut Vec<u8>) -> bool {
    // A connection that was reset has ended, too.
    matches!(input.read_buf(rest).await, Ok(bytes) if bytes > 0)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

async fn read_answer(
    input: &mut OwnedReadHalf,
    rest: &mut Vec<u8>,
    verb: &str,
) -> Option<RawAnswer> {
    loop {
        let head = take_until(input, rest, b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        // `100 Continue` is not the answer.
        if (100..200).contains(&status) {
            continue;
        }
        let mut answer = RawAnswer {
            status,
            headers: lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            body: Vec::new(),
        };
        if verb == "HEAD" || status == 204 || status == 304 {
            return Some(answer);
        }
        if answer.header("transfer-encoding").is_some() {
            answer.body = read_chunks(input, rest).await?;
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().ok()?;
            while rest.len() < length {
                if !fill(input, rest).await {
                    return None;
                }
            }
            answer.body = rest.drain(..length).collect();
        } else {
            while fill(input, rest).await {}
            answer.body = std::mem::take(rest);
        }
        return Some(answer);
    }
}

async fn read_chunks(input: &mut OwnedReadHalf, rest: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = take_until(input, rest, b"\r\n").await?;
        let size = usize::from_str_radix(std::str::from_utf8(&size).ok()?, 16).ok()?;
        while rest.len() < size + 2 {
            if !fill(input, rest).await {
                return None;
            }
        }
        body.extend(rest.drain(..size));
        rest.drain(..2);
        if size == 0 {
            return Some(body);
        }
    }
}

/// What comes before the mark, which is dropped.
async fn take_until(input: &mut OwnedReadHalf, rest: &mut Vec<u8>, mark: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = find(rest, mark) {
            let before = rest.drain(..at).collect();
            rest.drain(..mark.len());
            return Some(before);
        }
        if !fill(input, rest).await {
            return None;
        }
    }
}
