//! What becomes of calls when the gateway, or what is behind it, ends in the middle of them.
#![cfg(unix)]

use std::{collections::HashMap, fs, net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::{
    audit::{POLICY, rows},
    gateway::{Folder, outcome, post},
    load::{Answered, Load, Server, asks, message, meta},
    recorded::{ended, folder as fast_folder},
    support::{Proxy, body, call, open, read, run, send, within},
};

/// A gateway of this server that records there, and the token of somebody.
async fn gateway(server: &Server, audit: &str, more: &str) -> (Folder, Proxy, String) {
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\naudit = {audit:?}\n{more}[servers.one]\nurl = \"http://{}/mcp\"\n",
        server.address
    ));
    folder.put("policy.json", POLICY);
    let policy = ["--policy", "policy.json"];
    let token = folder.grant("alice", "one", &policy).await;
    let proxy = folder.serve().await;
    (folder, proxy, token)
}

/// A stream from which its first message has been read.
async fn opened(request: Request<Full<Bytes>>) -> Response<Incoming> {
    let mut response = open(request).await;
    let first = within("a message", response.frame()).await;
    let first = first.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"event: message\ndata: "), "{first:?}");
    response
}

async fn ends_under_load(audit: &str) -> Vec<Answered> {
    let server = Server::start().await;
    let (_folder, mut proxy, token) = gateway(&server, audit, "").await;
    let load = Load::on(&proxy, &token);
    let mut listens = asks(proxy.address, &token, &json!({}));
    *listens.method_mut() = Method::GET;
    let subscribes = json!({
        "jsonrpc": "2.0", "id": "s", "method": "subscriptions/listen",
        "params": { "notifications": { "toolsListChanged": true }, "_meta": meta() },
    });
    let subscribes = asks(proxy.address, &token, &subscribes);
    let listening = [opened(listens).await, opened(subscribes).await];
    let mut waiting = Vec::new();
    for (id, modern) in [(1, false), (2, true)] {
        let message = message(id, &format!("allowed-slow-{id}"), modern);
        waiting.push(opened(asks(proxy.address, &token, &message)).await);
    }
    load.goes_on(200, |_| true).await;

    proxy.signal("TERM").await;
    proxy.logs("stopping").await;
    // As if nothing more were to come.
    for stream in listening {
        assert_eq!(read(stream).await.text, "");
    }
    server.goes_on.send_replace(true);
    for (id, stream) in (1..).zip(waiting) {
        let rest = read(stream).await.text;
        assert!(rest.contains(&format!("\"id\":{id},")), "{rest}");
    }
    assert_eq!(proxy.end().await.code(), Some(0));
    assert!(!proxy.log().contains("still open"), "{}", proxy.log());

    let mut answered = load.ends().await;
    for one in &answered {
        let denied = one.body["result"]["isError"] == true;
        let as_wanted = one.is_passed() || denied || one.is_unrecorded();
        assert!(as_wanted, "{}: {}", one.name, one.body);
        assert!(!(one.is_passed() && one.name.starts_with("denied")));
    }
    let wrong = |name: &String| !name.starts_with("allowed-");
    assert_eq!(server.called().iter().find(|name| wrong(name)), None);
    answered.retain(|one| !one.is_unrecorded());
    answered
}

/// The records of each call that has one of what was decided and one of what came of it.
fn recorded(path: &Path) -> HashMap<String, (Value, Value)> {
    let (decisions, mut outcomes) = rows(path);
    let both = decisions.into_iter().filter_map(|(id, decision)| {
        let name = decision["name"].as_str()?.to_owned();
        Some((name, (decision, outcomes.remove(&id)?)))
    });
    both.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_stopped_under_load_ends_its_streams_and_has_recorded_every_answer() {
    let folder = fast_folder();
    let path = folder.path().join("audit.jsonl");
    let answered = ends_under_load(path.to_str().unwrap()).await;
    let recorded = recorded(&path);
    for one in &answered {
        let (decision, outcome) = &recorded[&one.name];
        let expected = match one.is_passed() {
            true => ("allowed", "answered"),
            false => ("denied", "refused"),
        };
        let found = (&decision["verdict"], &outcome["ending"]);
        assert_eq!(found, (&json!(expected.0), &json!(expected.1)));
        assert_eq!(
            (&decision["caller"], &decision["server"]),
            (&json!("alice"), &json!("one"))
        );
    }
    for id in [1, 2] {
        let (decision, outcome) = &recorded[&format!("allowed-slow-{id}")];
        assert_eq!(decision["verdict"], "allowed");
        assert_eq!(outcome["ending"], "streaming");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_stopped_under_load_has_every_answer_in_its_database() {
    let folder = fast_folder();
    let path = folder.path().join("audit.db");
    let answered = ends_under_load(&format!("sqlite:{}", path.display())).await;
    let recorded = ended(&path);
    let lost = answered
        .iter()
        .find(|one| recorded.get(&one.name) != Some(&1));
    assert_eq!(lost.map(|one| &one.name), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_after_a_server_was_away_and_only_what_may_have_run_is_counted() {
    let mut server = Server::start().await;
    let fast = fast_folder();
    let path = fast.path().join("audit.jsonl");
    let state = format!("sqlite:{}", fast.path().join("state.db").display());
    let more = format!("state = {state:?}\n");
    let (folder, proxy, token) = gateway(&server, path.to_str().unwrap(), &more).await;
    let counted = r#"{ "limits": [ { "counter": "calls", "window": "day", "max": 1000000 } ] }"#;
    let policy = POLICY.replace(r#""allowed-*": {}"#, &format!(r#""allowed-*": {counted}"#));
    assert_ne!(policy, POLICY);
    folder.put("policy.json", &policy);
    let load = Load::on(&proxy, &token);
    load.goes_on(50, Answered::is_passed).await;
    for _ in 0..2 {
        server.kill().await;
        let is_told = |one: &Answered| one.status == 502;
        load.goes_on(20, is_told).await;
        // What is refused does not need the server.
        load.goes_on(5, |one| one.body["result"]["isError"] == true)
            .await;
        server.start_again().await;
        load.goes_on(50, Answered::is_passed).await;
    }
    let answered = load.ends().await;

    let (recorded, called) = (recorded(&path), server.called());
    let (mut passed, mut unsure) = (0, 0);
    for one in answered.iter().filter(|one| !one.is_unrecorded()) {
        let ran = called.iter().filter(|name| **name == one.name).count();
        let (decision, outcome) = &recorded[&one.name];
        match one.error() {
            None => {
                let denied = one.name.starts_with("denied-");
                assert_eq!(
                    (one.status, one.is_passed()),
                    (200, !denied),
                    "{}",
                    one.body
                );
                assert_eq!(ran, usize::from(!denied));
                passed += ran;
            }
            Some(error) => {
                // Where the machine is busy, the state takes longer than a call waits for it.
                if error.contains("could not be counted, so it was not made") {
                    assert_eq!(ran, 0);
                    continue;
                }
                let may_have_run = error.contains("may have run");
                assert!(
                    may_have_run || error.contains("cannot be reached"),
                    "{error}"
                );
                assert_eq!(
                    (one.status, &one.body["error"]["code"]),
                    (502, &json!(-32603))
                );
                assert!(ran <= usize::from(may_have_run), "{error}");
                unsure += usize::from(may_have_run);
                let found = (&decision["verdict"], &outcome["ending"], &outcome["status"]);
                assert_eq!(found, (&json!("allowed"), &json!("answered"), &json!(502)));
            }
        }
    }
    assert!((passed..=passed + unsure).contains(&called.len()));
    let list = run(&["limits", "list", "--json", "--state", &state]).await;
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list["limits"][0]["used"], passed + unsure, "{list}");
}

/// A server on stdio that ends at once while there is a file `ends`, and does not go on while
/// there is one `hangs`, but says so in a file `waits`.
const FAULTY: &str = r#"
    while test -e hangs; do touch waits; sleep 0.1; done
    test -e ends && exit 4
    exec "$@"
"#;

/// What a tool of the faulty server answers in JSON.
async fn calls_faulty(proxy: SocketAddr, session: &str, id: u32, tool: &str) -> Value {
    let mut message = call(id, tool);
    message["params"]["arguments"] = json!({ "a": 4 });
    let request = Request::post(format!("http://{proxy}/mcp/faulty"))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("mcp-session-id", session)
        .body(body(&message));
    let answer = send(request.unwrap()).await;
    assert_eq!(answer.status(), 200, "{}", answer.text);
    let answer = answer.json();
    assert_eq!(answer["id"], id, "{answer}");
    answer
}

#[tokio::test]
async fn a_server_that_keeps_ending_keeps_no_other_and_is_back_once_it_is_mended() {
    let server = Server::start().await;
    let folder = Folder::new("");
    let script = format!("cd '{}'\n{FAULTY}", folder.path("").display());
    let program = std::env::current_exe().unwrap();
    let mut command = vec!["sh", "-c", &script, "sh", program.to_str().unwrap()];
    command.extend(crate::stdio_server::ARGUMENTS);
    let config = format!(
        "listen = \"127.0.0.1:0\"\n\
         [servers.one]\nurl = \"http://{}/mcp\"\npolicy = \"all.json\"\n\
         [servers.faulty]\ncommand = {command:?}\nenv = {{ {} = \"1\" }}\npolicy = \"all.json\"\n",
        server.address,
        crate::stdio_server::ROLE
    );
    folder.put("gateway.toml", &config);
    let proxy = folder.serve().await;
    let address = proxy.address;
    let others_pass = async || assert_eq!(outcome(&proxy, "one", "", "x").await, "allowed");
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} });
    let begun = post(&proxy, "faulty", "", &initialize).await;
    let session = begun.header("mcp-session-id").unwrap().to_owned();
    let calls = async |id, tool| calls_faulty(address, &session, id, tool).await;
    folder.put("ends", "");
    calls(1, "exit").await;
    let mut starts = 0;
    within("that nobody waits for it any more", async {
        for id in 2.. {
            let answer = calls(id, "process").await;
            others_pass().await;
            let text = answer["error"]["message"].as_str().unwrap();
            if text.contains("try again") {
                return;
            }
            assert!(text.contains("handshake"), "{text}");
            starts += 1;
        }
    })
    .await;
    // It has ended once more than it was started again.
    proxy.logs("exit status: 4").await;
    let ended = proxy.log().matches("exit status: 4").count();
    assert!((1..=starts + 1).contains(&ended), "{}", proxy.log());

    // Somebody waits for it, and nobody else does.
    folder.put("hangs", "");
    let waiting = {
        let session = session.clone();
        tokio::spawn(async move {
            loop {
                let answer = calls_faulty(address, &session, 100, "process").await;
                if answer["result"].is_object() {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    };
    within("the next start", async {
        while !folder.path("waits").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    others_pass().await;
    assert!(!waiting.is_finished());

    fs::remove_file(folder.path("ends")).unwrap();
    fs::remove_file(folder.path("hangs")).unwrap();
    let answer = within("an answer of the mended server", waiting).await;
    let process = &answer.unwrap()["result"]["content"][0]["text"];
    assert_eq!(
        &calls(101, "process").await["result"]["content"][0]["text"],
        process
    );
    others_pass().await;
}
