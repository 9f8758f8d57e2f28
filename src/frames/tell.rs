//! What the client of a connection is told when another policy holds.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use crate::bell::Watch;
use crate::caller::Caller;
use crate::engine::{Engine, Judge, Subscription, Told};
use crate::mcp::changed::{self, Lists};
use crate::mcp::message::{Call, Id};

/// Subscriptions of one connection that are told of anything.
const MOST_SUBSCRIPTIONS: usize = 64;

/// What the answer to a request tells of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// `initialize`.
    Session,
    /// `server/discover` (2026-07-28).
    Server,
    /// It ends a subscription (2026-07-28).
    Subscription,
    /// Nothing.
    Other,
}

impl Question {
    pub(super) fn of(call: &Call<'_>) -> Self {
        match &*call.method {
            "initialize" => Self::Session,
            "server/discover" => Self::Server,
            "subscriptions/listen" => Self::Subscription,
            _ => Self::Other,
        }
    }
}

/// What the client is to be told of.
#[derive(Debug)]
pub(super) struct News {
    watch: Watch,
    /// What was declared when the session began, and is known in it.
    session: Option<(Lists, Told)>,
    /// What was declared without a session (2026-07-28).
    declared: Option<Lists>,
    subscriptions: Vec<Subscription>,
    /// What is told next.
    ready: VecDeque<Vec<u8>>,
}

impl News {
    /// `None` if no policy ever changes.
    pub(super) fn of(engine: &Engine) -> Option<Self> {
        Some(Self {
            watch: engine.changes()?.watch(),
            session: None,
            declared: None,
            subscriptions: Vec::new(),
            ready: VecDeque::new(),
        })
    }

    /// A message of the client's goes on.
    pub(super) fn asked(
        &mut self,
        id: Option<Id<'_>>,
        call: &Call<'_>,
        frame: &[u8],
        judge: &Judge,
    ) {
        match (id, &*call.method) {
            (Some(id), "subscriptions/listen") if self.subscriptions.len() < MOST_SUBSCRIPTIONS => {
                let requested = changed::requested(frame);
                let subscription = Subscription::new(id.raw(), requested, judge);
                self.subscriptions.push(subscription);
            }
            (None, "notifications/cancelled") => {
                if let Some(id) = changed::cancelled(frame) {
                    self.ended(&id);
                }
            }
            _ => {}
        }
    }

    /// The answer to a question goes on to the client.
    pub(super) fn answered(&mut self, question: Question, id: &[u8], frame: &[u8], judge: &Judge) {
        match question {
            Question::Session => {
                let declared = changed::declared(frame);
                self.session = declared.map(|declared| (declared, Told::by(judge)));
            }
            Question::Server => self.declared = changed::declared(frame),
            Question::Subscription => self.ended(id),
            Question::Other => return,
        }
        // What changed in the meantime is due now.
        self.watch.bell().wake();
    }

    /// Something that answers nothing goes on to the client.
    pub(super) fn passed(&mut self, frame: &[u8]) {
        if self.subscriptions.iter().all(Subscription::is_acknowledged) {
            return;
        }
        let Some(agreed) = changed::acknowledged(frame) else {
            return;
        };
        let Some(id) = &agreed.subscription else {
            return;
        };
        let acknowledged = |it: &&mut Subscription| !it.is_acknowledged() && is_same(it.id(), id);
        if let Some(subscription) = self.subscriptions.iter_mut().find(acknowledged) {
            subscription.acknowledge(&agreed, self.declared);
            self.watch.bell().wake();
        }
    }

    /// The next message for the client. The task is woken when there may be one.
    pub(super) fn poll(
        &mut self,
        engine: &Engine,
        caller: &Caller,
        context: &mut Context<'_>,
    ) -> Poll<Vec<u8>> {
        let changes = self.watch.poll(context);
        if self.ready.is_empty() {
            if let Some((declared, told)) = &mut self.session {
                let news = told.news(changes, engine, caller).and(*declared);
                self.ready.extend(news.notifications(None));
            }
            for subscription in &mut self.subscriptions {
                self.ready
                    .extend(subscription.news(changes, engine, caller));
            }
        }
        self.ready.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn ended(&mut self, id: &[u8]) {
        self.subscriptions.retain(|it| !is_same(it.id(), id));
    }
}

fn is_same(id: &[u8], raw: &[u8]) -> bool {
    Id::from_raw(id).is_some_and(|id| id.is_echoed_by(raw))
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use tokio_test::task::spawn;
    use tokio_test::{assert_pending, assert_ready};

    use super::MOST_SUBSCRIPTIONS;
    use crate::frames::awaited::MOST_AWAITED;
    use crate::frames::{FromClient, FromServer, MessageConnection, MessageGuard};
    use crate::{Caller, LivePolicy, Policy};

    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#;
    const TELLS: &str = r#"{"tools":{"listChanged":true}}"#;
    const TOLD: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

    fn hides(tool: &str) -> Policy {
        let text = format!(r#"{{"version":"1","default":"allow","hide":["{tool}"]}}"#);
        text.parse().unwrap()
    }

    fn connection() -> (LivePolicy, MessageConnection) {
        let live = LivePolicy::new(hides("a"));
        let guard = MessageGuard::from_source(live.clone());
        (live, guard.connect(Caller::local()))
    }

    fn says(connection: &MessageConnection, message: &str) {
        let verdict = block_on(connection.from_client(message.as_bytes()));
        assert_eq!(verdict, FromClient::Forward, "{message}");
    }

    fn answers(connection: &MessageConnection, message: &str) {
        let verdict = block_on(connection.from_server(message.as_bytes()));
        assert_eq!(verdict, FromServer::Forward, "{message}");
    }

    fn declares(connection: &MessageConnection, capabilities: &str) {
        let result = format!(r#"{{"capabilities":{capabilities}}}"#);
        answers(
            connection,
            &format!(r#"{{"jsonrpc":"2.0","id":0,"result":{result}}}"#),
        );
    }

    #[test]
    fn a_session_is_told_and_woken() {
        let (live, connection) = connection();
        let mut news = spawn(connection.notification());
        assert_pending!(news.poll());
        says(&connection, INITIALIZE);
        live.replace(hides("b"));
        assert!(news.is_woken());
        assert_pending!(news.poll(), "nothing is declared yet");
        declares(&connection, TELLS);
        assert!(news.is_woken());
        assert_eq!(assert_ready!(news.poll()), TOLD.as_bytes());
        drop(news);
        let mut news = spawn(connection.notification());
        assert_pending!(news.poll());
        live.replace(hides("b"));
        assert!(!news.is_woken(), "the same policy is no change");
        live.replace(hides("c"));
        // One that is dropped takes nothing along.
        drop(news);
        let mut news = spawn(connection.notification());
        assert_eq!(assert_ready!(news.poll()), TOLD.as_bytes());
    }

    #[test]
    fn nothing_is_told_that_was_not_declared_or_cannot_change() {
        let (live, changing) = connection();
        let fixed = MessageGuard::new(hides("a")).connect(Caller::local());
        for (connection, capabilities) in [(changing, r#"{"tools":{}}"#), (fixed, TELLS)] {
            says(&connection, INITIALIZE);
            declares(&connection, capabilities);
            live.replace(hides("b"));
            assert_pending!(spawn(connection.notification()).poll());
        }
    }

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

    fn listen(id: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{{"notifications":{{"toolsListChanged":true}},{META}}}}}"#
        )
    }

    fn acknowledged(id: &str, agreed: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"notifications":{agreed}}}}}"#
        )
    }

    /// All that the client is to be told now.
    fn told(connection: &MessageConnection) -> Vec<String> {
        let mut told = Vec::new();
        while let std::task::Poll::Ready(news) = spawn(connection.notification()).poll() {
            told.push(String::from_utf8(news).unwrap());
        }
        told
    }

    #[test]
    fn a_subscription_is_told_from_its_acknowledgement_to_its_end() {
        let acknowledged = |id: &str| acknowledged(id, r#"{"toolsListChanged":true}"#);
        let (live, connection) = connection();
        for id in ["1", "\"3\"", "2"] {
            says(&connection, &listen(id));
        }
        answers(&connection, &acknowledged("2"));
        let told = |policy: &str| {
            live.replace(hides(policy));
            told(&connection)
        };
        let of = |id: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
            )
        };
        assert_eq!(told("b"), [of("2")]);
        answers(&connection, &acknowledged("\"3\""));
        // That one has not heard of `b` yet.
        assert_eq!(told("c"), [of("\"3\""), of("2")]);
        answers(&connection, r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
        assert_eq!(told("d"), [of("\"3\"")]);
        says(
            &connection,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"3"}}"#,
        );
        assert_eq!(told("e"), [""; 0]);
    }

    /// An acknowledgement may leave out what the server has said of itself.
    #[test]
    fn what_a_server_was_discovered_to_tell_is_told() {
        for (capabilities, is_told) in [(TELLS, true), (r#"{"tools":{}}"#, false)] {
            let (live, connection) = connection();
            let discover = format!(
                r#"{{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{{{META}}}}}"#
            );
            says(&connection, &discover);
            declares(&connection, capabilities);
            says(&connection, &listen("1"));
            answers(&connection, &acknowledged("1", "null"));
            live.replace(hides("b"));
            assert_eq!(!told(&connection).is_empty(), is_told, "{capabilities}");
        }
    }

    #[test]
    fn the_subscriptions_that_are_told_are_bounded() {
        let (live, connection) = connection();
        for id in 0..=MOST_SUBSCRIPTIONS {
            let id = id.to_string();
            says(&connection, &listen(&id));
            answers(
                &connection,
                &acknowledged(&id, r#"{"toolsListChanged":true}"#),
            );
        }
        live.replace(hides("b"));
        assert_eq!(told(&connection).len(), MOST_SUBSCRIPTIONS);
    }

    #[test]
    fn one_request_sees_one_policy() {
        let (live, connection) = connection();
        let list = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list"}}"#);
        let shown = |id| {
            let answer = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"a"}},{{"name":"b"}}]}}}}"#
            );
            let verdict = block_on(connection.from_server(answer.as_bytes()));
            let FromServer::Replace(shown) = verdict else {
                panic!("{verdict:?}");
            };
            String::from_utf8(shown).unwrap()
        };
        says(&connection, &list(1));
        live.replace(hides("b"));
        says(&connection, &list(2));
        assert!(shown(2).contains(r#"[{"name":"a"}]"#));
        assert!(shown(1).contains(r#"[{"name":"b"}]"#));
        // What nobody asked for is judged by the policy that holds.
        assert!(shown(3).contains(r#"[{"name":"a"}]"#));

        // So is what could be the answer to a request from before.
        says(&connection, &list(4));
        live.replace(hides("a"));
        says(&connection, &list(4));
        assert!(shown(4).contains(r#"[{"name":"b"}]"#));
    }

    /// What holds a place is remembered for longer, and could be taken for it.
    #[test]
    fn the_answer_to_what_is_forgotten_is_judged_by_the_policy_that_holds() {
        let policy = |hidden: &str| -> Policy {
            let run = r#"{"run":{"max_concurrent":{"max":1}}}"#;
            let text =
                format!(r#"{{"version":"1","default":"allow","hide":["{hidden}"],"tools":{run}}}"#);
            text.parse().unwrap()
        };
        let live = LivePolicy::new(policy("a"));
        let connection = MessageGuard::from_source(live.clone()).connect(Caller::local());
        let ask = |id: usize, rest: &str| {
            says(
                &connection,
                &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{rest}}}"#),
            );
        };
        ask(1, r#""tools/call","params":{"name":"run"}"#);
        live.replace(policy("b"));
        ask(1, r#""tools/list""#);
        (2..=MOST_AWAITED).for_each(|id| ask(id, r#""ping""#));
        let list = br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"b"}]}}"#;
        let FromServer::Replace(shown) = block_on(connection.from_server(list)) else {
            panic!("nothing is hidden");
        };
        assert!(
            String::from_utf8(shown)
                .unwrap()
                .contains(r#"[{"name":"a"}]"#)
        );
    }
}
