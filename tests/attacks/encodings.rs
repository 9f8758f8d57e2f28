//! The answers of `encodings.json`, each in answer to every kind of request.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use futures::stream;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use mcp_policy::PolicyLayer;
use serde::Deserialize;
use tower::{Layer as _, service_fn};

use crate::lenient::mentions;
use crate::raw::{Connection, RawAnswer};
use crate::support::net::{Server, serve};

/// The file, which says itself what its members mean.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[expect(dead_code, reason = "it is for people")]
    about: Vec<String>,
    pub(crate) encodings: Vec<Encoding>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encoding {
    pub(crate) name: String,
    pub(crate) rows: Vec<String>,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    coding: Option<Coding>,
    pieces: Option<usize>,
    #[serde(default)]
    trailers: Vec<(String, String)>,
    shows: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Coding {
    Gzip,
    Deflate,
    Br,
    #[serde(rename = "utf-16")]
    Utf16,
    #[serde(rename = "utf-7")]
    Utf7,
    #[serde(rename = "byte order mark")]
    ByteOrderMark,
}

const TOOLS: &str = r#"[{"name":"safe","inputSchema":{"type":"object"}},{"name":"hidden","inputSchema":{"type":"object"}},{"name":"danger","inputSchema":{"type":"object"}}]"#;

impl File {
    pub(crate) fn read() -> Self {
        serde_json::from_str(include_str!("encodings.json")).unwrap()
    }
}

impl Encoding {
    /// The answer to the request with the id 1.
    fn response(&self) -> Response<BoxBody<Bytes, Infallible>> {
        let list = r#"{"jsonrpc":"2.0","id":{ID},"result":{"tools":{TOOLS}}}"#;
        let lines: String = list
            .replace("{TOOLS}", &TOOLS.replace("},", "},\n"))
            .split('\n')
            .map(|line| format!("data: {line}\n"))
            .collect();
        let text = self
            .body
            .replace("{LIST}", list)
            .replace("{LINES}", &lines)
            .replace("{TOOLS}", TOOLS)
            .replace("{ID}", "1");
        let bytes = self
            .coding
            .map_or_else(|| text.clone().into_bytes(), |c| c.encode(&text));
        let pieces = bytes.chunks(self.pieces.unwrap_or(bytes.len()).max(1));
        let mut frames: Vec<_> = pieces
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        if !self.trailers.is_empty() {
            frames.push(Ok(Frame::trailers(headers(&self.trailers))));
        }
        let body = StreamBody::new(stream::iter(frames));
        let mut response = Response::new(BodyExt::boxed(body));
        *response.status_mut() = self.status.try_into().unwrap();
        *response.headers_mut() = headers(&self.headers);
        response
    }
}

fn headers(lines: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = value.replace("{ELSEWHERE}", "http://127.0.0.1:9/elsewhere");
        headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    headers
}

impl Coding {
    fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(text.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(text.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
            // If it went through, it would be easiest to find like this.
            Self::Br => text.as_bytes().to_vec(),
            Self::Utf16 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Self::Utf7 => {
                let shift = |character: char| {
                    let unit = u32::from(character) as u16;
                    format!("+{}-", STANDARD_NO_PAD.encode(unit.to_be_bytes()))
                };
                let text = text.replace('{', &shift('{')).replace('"', &shift('"'));
                text.into_bytes()
            }
            Self::ByteOrderMark => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        }
    }
}

const POLICY: &str = r#"{
    "version": "1",
    "default": "deny",
    "hide": ["hidden"],
    "tools": { "safe": {}, "danger": { "action": "deny" } }
}"#;

/// What clients send, to each of which a server could answer with a list.
const QUESTIONS: [(&str, &str, &str); 7] = [
    (
        "POST",
        "",
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
    ),
    (
        "POST",
        "",
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#,
    ),
    ("POST", "", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#),
    (
        "POST",
        "",
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe"}}"#,
    ),
    (
        "POST",
        "",
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    ),
    ("GET", "last-event-id: 7\r\n", ""),
    ("DELETE", "", ""),
];

pub(crate) async fn ask(server: &Server, question: (&str, &str, &str)) -> RawAnswer {
    let (verb, headers, body) = question;
    let mut connection = Connection::open(server.address).await;
    let request = format!(
        "{verb} /mcp HTTP/1.1\r\nhost: h\r\naccept-encoding: gzip, br\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    connection.exchange(request.as_bytes(), verb).await.unwrap()
}

/// A server that answers everything like this, with or without the layer.
async fn serving(encoding: &Encoding, layer: Option<&PolicyLayer>) -> Server {
    let encoding = Arc::new(encoding.clone());
    let answer = move || {
        let response = encoding.response();
        async { Ok::<_, Infallible>(response) }
    };
    match layer {
        Some(layer) => serve(layer.layer(service_fn(move |_: Request<_>| answer()))).await,
        None => serve(service_fn(move |_: Request<_>| answer())).await,
    }
}

/// Whether a client could read this word somewhere in an answer.
fn shows(answer: &RawAnswer, word: &str) -> bool {
    let mut headers = answer.headers.iter();
    headers.any(|(name, value)| [name, value].iter().any(|text| text.contains(word)))
        || answer.text().contains(word)
        || mentions(&answer.body, word)
}

/// Sends every answer of a row through the layer.
pub(crate) async fn hold(row: &str) {
    let layer = PolicyLayer::new(POLICY.parse().unwrap()).accept_batches();
    let mut faults = Vec::new();
    let mut count = 0;
    let encodings = File::read().encodings;
    for encoding in encodings
        .iter()
        .filter(|e| e.rows.iter().any(|other| other == row))
    {
        count += 1;
        let server = serving(encoding, Some(&layer)).await;
        for question in QUESTIONS {
            let answer = ask(&server, question).await;
            let text = answer.text();
            let said = format!(
                "{} to {question:?}: {} {text}",
                encoding.name, answer.status
            );
            if shows(&answer, "hidden") {
                faults.push(said.clone());
            }
            if answer
                .header("content-encoding")
                .is_some_and(|coding| coding != "identity")
            {
                faults.push(said.clone());
            }
            let is_list = QUESTIONS[..2].contains(&question);
            if is_list && mentions(&answer.body, "safe") != encoding.shows {
                faults.push(format!("shows is not {}: {said}", encoding.shows));
            }
        }
    }
    assert!(count > 0, "{row} has no encoding");
    assert!(faults.is_empty(), "{row}:\n{}", faults.join("\n"));
}

/// Without the layer the name is in each of them, so that the tests can fail.
#[tokio::test]
async fn every_encoding_holds_the_hidden_tool() {
    for encoding in File::read().encodings {
        let server = serving(&encoding, None).await;
        let answer = ask(&server, QUESTIONS[0]).await;
        let found = shows(&answer, "hidden")
            || answer.header("location").is_some()
            || !encoding.trailers.is_empty();
        assert!(found, "{}: {}", encoding.name, answer.text());
    }
}
