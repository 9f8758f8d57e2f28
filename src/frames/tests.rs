use futures::executor::block_on;

use super::awaited::MOST_AWAITED;
use super::*;
use crate::audit::{AuditRecord, Ending};

fn connection() -> MessageConnection {
    let policy = r#"{"version":"1","default":"deny","hide":["wipe"],"tools":{"read":{}}}"#;
    MessageGuard::new(policy.parse().unwrap()).connect(Caller::local())
}

fn from_client(frame: &str) -> FromClient {
    block_on(connection().from_client(frame.as_bytes()))
}

fn from_server(frame: &str) -> FromServer {
    block_on(connection().from_server(frame.as_bytes()))
}

#[test]
fn messages_of_the_client_are_judged() {
    let call = |name: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{{"name":"{name}"}}}}"#
        )
    };
    assert_eq!(from_client(&call("read")), FromClient::Forward);
    for refused in [call("write"), call("wipe"), call("read\",\"name\":\"wipe")] {
        let FromClient::Refuse(answer) = from_client(&refused) else {
            panic!("{refused}");
        };
        assert!(answer.starts_with(br#"{"jsonrpc":"2.0","id":"a","#));
    }
    for dropped in [
        "",
        "[]",
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/unheard"}"#,
    ] {
        assert_eq!(from_client(dropped), FromClient::Drop, "{dropped}");
    }
}

#[test]
fn what_goes_on_is_one_message_to_every_reader() {
    let hidden = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"wipe"}}"#;
    let list = r#"{"id":2,"result":{"tools":[{"name":"wipe"}]}}"#;
    for end in ["\r", "\n", "\r\n"] {
        let ping = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":{end}{hidden}{end}}}}}"#
        );
        assert!(matches!(from_client(&ping), FromClient::Refuse(_)));
        assert_eq!(from_client(&ping.replace(end, " ")), FromClient::Forward);
        for message in [
            format!(r#"{{"method":"x","params":{{"data":{end}{list}{end}}}}}"#),
            format!(r#"{{"id":1,"result":{{"tools":[{{"name":"wipe"}}],"x":{end}{list}{end}}}}}"#),
        ] {
            let FromServer::Replace(shown) = from_server(&message) else {
                panic!("{message:?}");
            };
            assert!(!shown.contains(&b'\r') && !shown.contains(&b'\n'));
        }
        let trailing = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping"}}{end}"#);
        assert_eq!(from_client(&trailing), FromClient::Forward);
        assert_eq!(from_server(&trailing), FromServer::Forward);
    }
}

#[test]
fn messages_of_the_server_are_filtered() {
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
    assert_eq!(from_server(progress), FromServer::Forward);
    let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"wipe"}]}}"#;
    let shown = br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;
    assert_eq!(from_server(list), FromServer::Replace(shown.to_vec()));
    let broken = from_server(r#"{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}"#);
    assert!(
        matches!(broken, FromServer::Replace(error) if error.starts_with(br#"{"jsonrpc":"2.0","id":1,"error""#))
    );
    for dropped in [
        "Server started on {port}",
        r#"{"method":"ping","id":1,"params":NaN}"#,
        "",
        "plain text",
    ] {
        assert_eq!(from_server(dropped), FromServer::Drop, "{dropped}");
    }
}

#[test]
fn a_task_is_known_by_the_answer_to_its_call() {
    let policy = r#"{"version":"1","default":"allow"}"#;
    let guard = MessageGuard::new(policy.parse().unwrap());
    let connection = guard.connect(Caller::local());
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","task":{}}}"#;
    let get = br#"{"jsonrpc":"2.0","id":2,"method":"tasks/get","params":{"taskId":"t"}}"#;
    let task = br#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"t"}}}"#;
    let asks = |connection: &MessageConnection| block_on(connection.from_client(get));
    block_on(connection.from_server(task));
    assert!(matches!(asks(&connection), FromClient::Refuse(_)));
    assert_eq!(block_on(connection.from_client(call)), FromClient::Forward);
    assert_eq!(block_on(connection.from_server(task)), FromServer::Forward);
    assert_eq!(asks(&connection), FromClient::Forward);
    let other = guard.connect(Caller::new("other"));
    assert!(matches!(asks(&other), FromClient::Refuse(_)));
}

#[test]
fn of_two_calls_with_one_id_no_task_is_known() {
    let policy = r#"{"version":"1","default":"allow"}"#;
    let connection = MessageGuard::new(policy.parse().unwrap()).connect(Caller::local());
    for tool in ["a", "b"] {
        // The same id, in two spellings.
        let id = if tool == "a" { "\"1\"" } else { "\"\\u0031\"" };
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","task":{{}}}}}}"#
        );
        block_on(connection.from_client(call.as_bytes()));
    }
    for task in ["t1", "t2"] {
        let answer =
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"task":{{"taskId":"{task}"}}}}}}"#);
        block_on(connection.from_server(answer.as_bytes()));
    }
    for task in ["t1", "t2"] {
        let get = format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tasks/get","params":{{"taskId":"{task}"}}}}"#
        );
        let verdict = block_on(connection.from_client(get.as_bytes()));
        assert!(matches!(verdict, FromClient::Refuse(_)), "{task}");
    }
}

/// A sink that tells how each message ended.
#[derive(Clone, Default)]
struct Endings(Arc<Mutex<Vec<Ending>>>);

impl AuditSink for Endings {
    fn record(&self, record: &AuditRecord) -> Receipt {
        if let AuditRecord::Outcome(outcome) = record {
            self.0.lock().unwrap().push(outcome.ending());
        }
        Receipt::recorded()
    }
}

#[test]
fn every_message_leaves_an_outcome() {
    let endings = Endings::default();
    let policy = r#"{"version":"1","default":"deny","tools":{"read":{}}}"#;
    let guard = MessageGuard::new(policy.parse().unwrap()).audit(endings.clone());
    let connection = guard.connect(Caller::local());
    let ask = |id: u32, rest: &str| {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}}}"#);
        block_on(connection.from_client(message.as_bytes()))
    };
    let answer = |id: u32, rest: &str| {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}}}"#);
        block_on(connection.from_server(message.as_bytes()))
    };
    let taken = || std::mem::take(&mut *endings.0.lock().unwrap());
    let call = r#""method":"tools/call","params":{"name":"read"}"#;
    ask(1, r#""method":"tools/call","params":{"name":"write"}"#);
    assert_eq!(taken(), [Ending::Refused]);
    ask(2, r#""result":{}"#);
    assert_eq!(taken(), [Ending::Sent]);
    ask(3, call);
    ask(4, call);
    ask(5, call);
    assert_eq!(taken(), []);
    answer(4, r#""result":{"a":NaN}"#);
    assert_eq!(taken(), [Ending::Withheld]);
    // Of a log, or of a server that says the id in another way.
    answer(3, r#""level":"info""#);
    assert_eq!(taken(), []);
    answer(3, r#""result":{}"#);
    assert_eq!(taken(), [Ending::Answered]);
    drop(connection);
    assert_eq!(taken(), [Ending::Cancelled]);
}

#[test]
fn whoever_waits_hears_that_an_answer_is_too_large() {
    let endings = Endings::default();
    let policy = r#"{"version":"1","default":"allow"}"#;
    let guard = MessageGuard::new(policy.parse().unwrap()).audit(endings.clone());
    let connection = guard.connect(Caller::local());
    let call = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"a","task":{{}}}}}}"#
        )
    };
    let ids = ["\"\\u0061\"", "2"];
    for id in ids {
        block_on(connection.from_client(call(id).as_bytes()));
    }
    let errors = block_on(connection.from_server_too_large());
    for (error, id) in errors.iter().zip(ids) {
        let error = String::from_utf8_lossy(error);
        let begins = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"#);
        assert!(error.starts_with(&begins), "{error}");
        assert!(error.contains("may have run"), "{error}");
    }
    assert_eq!(errors.len(), 2);
    let ended = std::mem::take(&mut *endings.0.lock().unwrap());
    assert_eq!(ended, [Ending::Withheld; 2]);
    assert!(block_on(connection.from_server_too_large()).is_empty());
    // One that comes all the same could be taken for that of another call.
    block_on(connection.from_client(call("2").as_bytes()));
    let late = br#"{"jsonrpc":"2.0","id":2,"result":{"task":{"taskId":"t"}}}"#;
    block_on(connection.from_server(late));
    let get = br#"{"jsonrpc":"2.0","id":3,"method":"tasks/get","params":{"taskId":"t"}}"#;
    let asked = block_on(connection.from_client(get));
    assert!(matches!(asked, FromClient::Refuse(_)));
}

#[test]
fn what_is_awaited_is_bounded() {
    let connection = connection();
    for id in 0..=MOST_AWAITED {
        let ping = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        block_on(connection.from_client(ping.as_bytes()));
    }
    assert_eq!(connection.awaited().len(), MOST_AWAITED);
    assert!(connection.awaited().take(b"0").is_none());
    assert!(connection.awaited().take(b"1").is_some());
    // An answer could be one to what is forgotten.
    let call = br#"{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"read"}}"#;
    block_on(connection.from_client(call));
    let request = connection.awaited().take(b"0").unwrap();
    assert!(request.call.is_none());
}

#[test]
fn what_is_told_of_another_callers_task_is_dropped() {
    let guard = MessageGuard::new(r#"{"version":"1","default":"allow"}"#.parse().unwrap());
    let connection = guard.connect(Caller::local());
    let told =
        br#"{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t","result":{}}}"#;
    assert_eq!(block_on(connection.from_server(told)), FromServer::Drop);
    let several = [&b"["[..], told, b",{}]"].concat();
    let shown = FromServer::Replace(b"[{}]".to_vec());
    assert_eq!(block_on(connection.from_server(&several)), shown);
}
