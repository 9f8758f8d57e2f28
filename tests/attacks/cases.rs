//! The requests of `cases.json`, each sent as it is written there.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_policy::PolicyLayer;
use serde::Deserialize;
use serde_json::Value;
use tower::Layer as _;

use crate::lenient::Lenient;
use crate::raw::{Connection, RawAnswer};
use crate::support::mcp::Log;
use crate::support::net::{Server, serve};

/// The file, which says itself what its members mean.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[expect(dead_code, reason = "it is for people")]
    about: Vec<String>,
    pub(crate) policies: BTreeMap<String, Value>,
    pub(crate) cases: Vec<Case>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) rows: Vec<String>,
    pub(crate) era: Era,
    pub(crate) policy: Option<String>,
    pub(crate) request: RawRequest,
    pub(crate) executes: bool,
    #[serde(default)]
    runs: Vec<String>,
    pub(crate) answer: Option<Expected>,
    pub(crate) harmless: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Era {
    Legacy,
    Modern,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRequest {
    pub(crate) method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Piece>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    text: Option<String>,
    base64: Option<String>,
    times: Option<usize>,
    #[serde(default)]
    parts: Vec<Piece>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    status: Value,
    code: Option<i64>,
    #[serde(default)]
    tool_error: bool,
    #[serde(default)]
    result: bool,
    /// `None` if nothing is known of it, `Some(None)` if there must be none.
    #[serde(default, deserialize_with = "present")]
    id: Option<Option<String>>,
}

fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl File {
    pub(crate) fn read() -> Self {
        serde_json::from_str(include_str!("cases.json")).unwrap()
    }

    pub(crate) fn policy(&self, name: &str) -> PolicyLayer {
        PolicyLayer::new(self.policies[name].to_string().parse().unwrap())
    }
}

impl Case {
    /// Whether it holds under this policy.
    pub(crate) fn is_for(&self, policy: &str) -> bool {
        self.policy.as_ref().is_none_or(|wanted| wanted == policy)
    }

    /// What has to be executed.
    pub(crate) fn expected(&self) -> Vec<String> {
        match (self.executes, self.runs.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => vec!["safe".to_owned()],
            (true, false) => self.runs.clone(),
        }
    }
}

impl RawRequest {
    /// The bytes of the request.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.with(self.body.as_ref().map(Piece::bytes))
    }

    /// Its body; `None` if it has none, or if the framing is a part of it.
    pub(crate) fn plain_body(&self) -> Option<Vec<u8>> {
        let is_framed = self.has("content-length") || self.has("transfer-encoding");
        self.body.as_ref().filter(|_| !is_framed).map(Piece::bytes)
    }

    pub(crate) fn has(&self, header: &str) -> bool {
        let mut names = self.headers.iter().map(|(name, _)| name);
        names.any(|name| name.eq_ignore_ascii_case(header))
    }

    /// The bytes of the same request with another body.
    pub(crate) fn with(&self, body: Option<Vec<u8>>) -> Vec<u8> {
        let has = |header| self.has(header);
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if !has("host") {
            bytes.extend(b"host: 127.0.0.1\r\n");
        }
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        let body = match body {
            Some(body) if !has("content-length") && !has("transfer-encoding") => {
                bytes.extend(format!("content-length: {}\r\n", body.len()).bytes());
                body
            }
            body => body.unwrap_or_default(),
        };
        bytes.extend(b"\r\n");
        bytes.extend_from_slice(&body);
        bytes
    }
}

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self
            .parts
            .iter()
            .map(Piece::bytes)
            .collect::<Vec<_>>()
            .concat();
        if let Some(text) = &self.text {
            bytes.extend_from_slice(text.repeat(self.times.unwrap_or(1)).as_bytes());
        }
        if let Some(encoded) = &self.base64 {
            bytes.extend(STANDARD.decode(encoded).unwrap());
        }
        bytes
    }
}

impl Expected {
    /// What is wrong with an answer.
    fn fault(&self, answer: &RawAnswer) -> Option<String> {
        let class = answer.status / 100;
        let status = match self.status.as_str() {
            Some("2xx") => class == 2,
            Some("2xx or 4xx") => class == 2 || class == 4,
            _ => self.status == answer.status,
        };
        if !status {
            return Some(format!("the status is not {}", self.status));
        }
        let message: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if self.code.is_some() && message["error"]["code"].as_i64() != self.code {
            return Some(format!("the code is not {:?}", self.code));
        }
        let is_error = &message["result"]["isError"];
        if self.tool_error && is_error != true {
            return Some("it is no tool result that is an error".to_owned());
        }
        if self.result && (is_error == true || !message["result"].is_object()) {
            return Some("it is no result".to_owned());
        }
        match &self.id {
            Some(None) if message.get("id").is_some() => Some("it has an id".to_owned()),
            Some(Some(id)) => {
                let written = format!("\"id\":{id},");
                let echoed = answer.text().contains(&written);
                (!echoed).then(|| format!("the id is not {id}"))
            }
            _ => None,
        }
    }
}

/// A server behind a policy, or behind none.
#[derive(Debug)]
pub(crate) struct Target {
    server: Server,
    log: Log,
}

impl Target {
    /// A server that writes into this log.
    pub(crate) fn of(server: Server, log: Log) -> Self {
        Self { server, log }
    }

    pub(crate) async fn guarded(layer: &PolicyLayer) -> Self {
        let lenient = Lenient::default();
        let log = lenient.log.clone();
        Self::of(serve(layer.layer(lenient)).await, log)
    }

    pub(crate) async fn bare() -> Self {
        let lenient = Lenient::default();
        let log = lenient.log.clone();
        Self::of(serve(lenient).await, log)
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.server.address).await
    }

    /// What was executed since the last time.
    pub(crate) fn executed(&self) -> Vec<String> {
        self.log.take()
    }

    /// Sends a case, and gives the answer, if there was one.
    async fn send(&self, case: &Case) -> (Connection, Option<RawAnswer>) {
        self.send_bytes(&case.request.bytes(), &case.request.method)
            .await
    }

    /// Sends these bytes, which are a request of this verb.
    pub(crate) async fn send_bytes(
        &self,
        bytes: &[u8],
        verb: &str,
    ) -> (Connection, Option<RawAnswer>) {
        let mut connection = self.connect().await;
        let answer = connection.exchange(bytes, verb).await;
        (connection, answer)
    }
}

/// What a server executes when a case is sent to it.
pub(crate) async fn executed_by(target: &Target, case: &Case) -> Vec<String> {
    let (connection, _) = target.send(case).await;
    drop(connection);
    target.executed()
}

/// Whose answers are compared with those that a case expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Also those of the server, which answers everything.
    OfAnybody,
    /// Only refusals.
    OfTheLayer,
}

/// A call that is allowed, with which each connection ends.
const AFTERWARDS: &str =
    r#"{"jsonrpc":"2.0","id":"afterwards","method":"tools/call","params":{"name":"safe"}}"#;

/// Sends the case and then an allowed call, on the same connection if it is
/// still there. Gives everything that is wrong.
pub(crate) async fn check(target: &Target, case: &Case, answers: Answers) -> Vec<String> {
    let (mut connection, answer) = target.send(case).await;
    let executed = target.executed();
    let mut faults = Vec::new();
    let text = answer.as_ref().map(|answer| (answer.status, answer.text()));
    if executed != case.expected() {
        faults.push(format!("executed {executed:?}, answered {text:?}"));
    }
    let is_compared = answers == Answers::OfAnybody || !case.executes && case.harmless.is_none();
    match (case.answer.as_ref().filter(|_| is_compared), &answer) {
        (Some(expected), Some(answer)) => {
            let fault = expected.fault(answer);
            faults.extend(fault.map(|fault| format!("{fault}, answered {text:?}")));
        }
        (Some(_), None) => faults.push("there was no answer".to_owned()),
        (None, _) => {}
    }
    // Everything that a connection carries is over when it ends. Whatever was
    // smuggled in behind the case comes before the call.
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{AFTERWARDS}",
        AFTERWARDS.len()
    );
    let goes_on = answer.is_some_and(|answer| answer.keeps_alive()) && connection.is_whole();
    let mut end = Vec::new();
    if goes_on {
        connection.send(request.as_bytes()).await;
        end = connection.until_end().await;
    } else {
        drop(connection);
    }
    if !String::from_utf8_lossy(&end).contains("afterwards") {
        let mut connection = target.connect().await;
        connection.send(request.as_bytes()).await;
        end = connection.until_end().await;
    }
    if !String::from_utf8_lossy(&end).contains("afterwards") {
        faults.push("nothing goes on afterwards".to_owned());
    }
    let executed = target.executed();
    if executed != ["safe"] {
        faults.push(format!("afterwards {executed:?} were executed"));
    }
    faults
}

/// Sends every case of a row through every policy that it is for.
pub(crate) async fn hold(row: &str) {
    let file = File::read();
    let mut faults = Vec::new();
    let mut count = 0;
    for policy in file.policies.keys() {
        let target = Target::guarded(&file.policy(policy)).await;
        let of_row = file
            .cases
            .iter()
            .filter(|case| case.is_for(policy) && case.rows.iter().any(|other| other == row));
        for case in of_row {
            count += 1;
            for fault in check(&target, case, Answers::OfAnybody).await {
                faults.push(format!("{} ({policy}): {fault}", case.title));
            }
        }
    }
    assert!(count > 0, "{row} has no case");
    assert!(faults.is_empty(), "{row}:\n{}", faults.join("\n"));
}

/// Without the layer the server falls for every case that is not harmless by
/// itself, so that the tests can fail.
#[tokio::test]
async fn the_lenient_server_executes_every_case() {
    let target = Target::bare().await;
    let mut faults = Vec::new();
    for case in File::read().cases {
        let executed = executed_by(&target, &case).await;
        // hyper lets no request through whose framing is not clear.
        if case.rows == ["R27"] && case.request.target == "/mcp" {
            continue;
        }
        if executed.is_empty() == case.harmless.is_none() {
            faults.push(format!("{}: {executed:?}", case.title));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn titles_are_unique_and_policies_exist() {
    let file = File::read();
    let mut titles: Vec<_> = file.cases.iter().map(|case| &case.title).collect();
    titles.sort();
    assert!(titles.windows(2).all(|pair| pair[0] != pair[1]));
    for case in &file.cases {
        let policy = case.policy.as_ref();
        assert!(policy.is_none_or(|policy| file.policies.contains_key(policy)));
        assert!(!case.executes || case.harmless.is_none(), "{}", case.title);
        assert!(case.executes || case.runs.is_empty(), "{}", case.title);
        let modern = case
            .request
            .headers
            .iter()
            .any(|(_, value)| value == "2026-07-28");
        assert!(!modern || case.era == Era::Modern, "{}", case.title);
    }
}
