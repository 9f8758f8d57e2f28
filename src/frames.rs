use crate::caller::Caller;
use crate::engine::{Engine, Judge};
use crate::mcp::list;
use crate::mcp::message::{Id, Message};
use crate::mcp::recover::{self, Unread};
use crate::mcp::reply::{Asked, Refusal, reply};
use crate::mcp::version::Era;
use crate::policy::Policy;
use crate::source::PolicySource;

/// Judges bare JSON-RPC messages, one at a time: for stdio and other transports
/// that are not HTTP.
///
/// Each frame is one message without the line end or length around it. Whoever
/// uses this bounds how long a frame may be.
///
/// On stdio line ends part the messages, and some readers, Python's among them,
/// end a line at a carriage return as well. So a message of the client's with a
/// line end inside is refused, and in one of the server's a space is written
/// for it, which to JSON means the same: what goes on is one message to every
/// reader.
///
/// ```
/// use mcp_policy::{Caller, FromClient, FromServer, MessageGuard, Policy};
///
/// let policy: Policy = r#"{ "version": "1", "default": "deny", "hide": ["wipe"], "tools": { "read": {} } }"#
///     .parse()?;
/// let guard = MessageGuard::new(policy);
/// let caller = Caller::local();
///
/// let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wipe"}}"#;
/// assert!(matches!(guard.from_client(&caller, call), FromClient::Refuse(_)));
///
/// let list = br#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"read"},{"name":"wipe"}]}}"#;
/// let FromServer::Replace(shown) = guard.from_server(&caller, list) else { panic!() };
/// assert_eq!(shown, br#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"read"}]}}"#);
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MessageGuard {
    engine: Engine,
}

/// What becomes of a message of the client's.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromClient {
    /// It goes on to the server as it is.
    Forward,
    /// It does not go on; the client is sent this message instead.
    Refuse(Vec<u8>),
    /// It does not go on, and nobody waits for an answer.
    Drop,
}

/// What becomes of a message of the server's.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromServer {
    /// It goes on to the client as it is.
    Forward,
    /// The client is sent this message instead.
    Replace(Vec<u8>),
    /// It cannot be read, and answers nothing that the client waits for.
    Drop,
}

impl MessageGuard {
    /// A guard that enforces `policy`, whoever calls.
    pub fn new(policy: Policy) -> Self {
        Self::from_source(policy)
    }

    /// A guard that enforces whichever policy the source has for who calls.
    pub fn from_source(source: impl PolicySource) -> Self {
        Self {
            engine: Engine::new(source),
        }
    }

    /// Judges a message on its way to the server.
    pub fn from_client(&self, caller: &Caller, frame: &[u8]) -> FromClient {
        if has_line_end(frame) {
            let refusal = Refusal::Malformed {
                code: -32600,
                text: "A message must stand on one line.".to_owned(),
            };
            return refuse(&refusal, Era::Legacy, recover::request_id(frame));
        }
        let message = match Message::parse(frame) {
            Ok(message) => message,
            Err(fault) => {
                return refuse(&fault.into(), Era::Legacy, recover::request_id(frame));
            }
        };
        let judged = self
            .engine
            .judge_for(caller)
            .and_then(|judge| judge.judge(&message));
        let Err(refusal) = judged else {
            return FromClient::Forward;
        };
        let id = match &message {
            Message::Request(id, _) => Some(*id),
            Message::Notification(_) | Message::Response => None,
        };
        refuse(&refusal, message.era(), id)
    }

    /// Judges a message on its way to the client.
    pub fn from_server(&self, caller: &Caller, frame: &[u8]) -> FromServer {
        match self.engine.judge_for(caller) {
            Ok(judge) => filter(&judge, frame),
            Err(refusal) => replace(&refusal, frame),
        }
    }
}

fn refuse(refusal: &Refusal, era: Era, id: Option<Id<'_>>) -> FromClient {
    match id {
        Some(_) => FromClient::Refuse(reply(refusal, Asked { era, id }).body),
        None => FromClient::Drop,
    }
}

fn filter(judge: &Judge, frame: &[u8]) -> FromServer {
    match list::filter(frame, judge) {
        Ok(None) if has_line_end(frame) => FromServer::Replace(on_one_line(frame.to_vec())),
        Ok(None) => FromServer::Forward,
        Ok(Some(filtered)) => FromServer::Replace(on_one_line(filtered)),
        Err(unreadable) => {
            let text = unreadable.explain();
            replace(&Refusal::BadAnswer { text }, frame)
        }
    }
}

/// Whether a line ends inside of a message, rather than behind it.
fn has_line_end(frame: &[u8]) -> bool {
    memchr::memchr2(b'\r', b'\n', frame.trim_ascii_end()).is_some()
}

/// Outside of strings a line end is a space to JSON, and inside there is none.
fn on_one_line(mut message: Vec<u8>) -> Vec<u8> {
    for byte in &mut message {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    message
}

fn replace(refusal: &Refusal, frame: &[u8]) -> FromServer {
    match recover::server_message(frame) {
        Unread::Answer(id) => {
            let asked = Asked {
                era: Era::Legacy,
                id: Some(id),
            };
            FromServer::Replace(reply(refusal, asked).body)
        }
        Unread::Call | Unread::Unknown => FromServer::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> MessageGuard {
        let policy = r#"{"version":"1","default":"deny","hide":["wipe"],"tools":{"read":{}}}"#;
        MessageGuard::new(policy.parse().unwrap())
    }

    fn from_client(frame: &str) -> FromClient {
        guard().from_client(&Caller::local(), frame.as_bytes())
    }

    fn from_server(frame: &str) -> FromServer {
        guard().from_server(&Caller::local(), frame.as_bytes())
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
                format!(
                    r#"{{"id":1,"result":{{"tools":[{{"name":"wipe"}}],"x":{end}{list}{end}}}}}"#
                ),
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
}
