mod awaited;
mod tell;

use std::future;
use std::sync::{Arc, Mutex, MutexGuard};

use self::awaited::Awaited;
use self::tell::News;
use crate::approval::ApprovalStore;
use crate::audit::{AuditSink, Ending, MessageKind, Receipt, Settlement, Unrecorded};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::engine::{
    self, Approved, Approving, Arrival, Charged, Charging, Draft, Engine, Held, Judge, Judgement,
    Seen, Sessions, Unapproved, Using, unused,
};
use crate::limit::LimitStore;
use crate::lock::lock;
use crate::mcp::changed;
use crate::mcp::list::{self, Answer, Filtered, Unreadable};
use crate::mcp::message::{Id, Message};
use crate::mcp::recover::{self, Unread};
use crate::mcp::reply::{Asked, Refusal, reply};
use crate::mcp::version::Era;
use crate::policy::Policy;
use crate::reload::PolicySource;
use crate::session::{SessionStore, TaskOwner};

/// Judges bare JSON-RPC messages: for stdio and other transports that are not
/// HTTP.
///
/// Each connection between a client and a server has a [`MessageConnection`],
/// which is handed the messages of both sides. See there for an example.
#[derive(Clone, Debug)]
pub struct MessageGuard {
    engine: Engine,
}

/// Judges the messages of one client and one server, one at a time.
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
/// # futures::executor::block_on(async {
/// let policy: Policy = r#"{ "version": "1", "default": "deny", "hide": ["wipe"], "tools": { "read": {} } }"#
///     .parse()?;
/// let connection = MessageGuard::new(policy).connect(Caller::local());
///
/// let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wipe"}}"#;
/// assert!(matches!(connection.from_client(call).await, FromClient::Refuse(_)));
///
/// let list = br#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"read"},{"name":"wipe"}]}}"#;
/// let FromServer::Replace(shown) = connection.from_server(list).await else { panic!() };
/// assert_eq!(shown, br#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"read"}]}}"#);
/// # Ok::<(), mcp_policy::LoadError>(())
/// # })?;
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[derive(Debug)]
pub struct MessageConnection {
    engine: Engine,
    caller: Caller,
    /// What the client said of itself.
    client: Mutex<Option<Arc<str>>>,
    awaited: Mutex<Awaited>,
    /// `None` if no policy ever changes.
    news: Option<Mutex<News>>,
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
    /// It is not for the client, or cannot be read and answers nothing that the client
    /// waits for.
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

    /// Records every decision in this sink, too; see
    /// [`PolicyLayer::audit`](crate::PolicyLayer::audit).
    #[must_use]
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.engine.set_audit(sink);
        self
    }

    /// What the server is called in records, and by which it is told apart from others in
    /// a store that they share; see
    /// [`PolicyLayer::server_name`](crate::PolicyLayer::server_name).
    #[must_use]
    pub fn server_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.engine.set_server(name.into());
        self
    }

    /// Remembers in this store which tasks belong to whom; see
    /// [`PolicyLayer::session_store`](crate::PolicyLayer::session_store).
    #[must_use]
    pub fn session_store(mut self, store: impl SessionStore) -> Self {
        self.engine.set_sessions(store);
        self
    }

    /// Counts in this store what limits of the policy speak of; see
    /// [`PolicyLayer::limit_store`](crate::PolicyLayer::limit_store).
    #[must_use]
    pub fn limit_store(mut self, store: impl LimitStore) -> Self {
        self.engine.set_limits(store);
        self
    }

    /// Asks there for approvals; see
    /// [`PolicyLayer::approval_store`](crate::PolicyLayer::approval_store). A call does
    /// not wait for one here: messages come one after the other.
    #[must_use]
    pub fn approval_store(mut self, store: impl ApprovalStore) -> Self {
        self.engine.set_approvals(store);
        self
    }

    /// Tells the time by this clock; see
    /// [`PolicyLayer::clock`](crate::PolicyLayer::clock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.engine.set_clock(clock);
        self
    }

    /// A connection of this caller's.
    pub fn connect(&self, caller: Caller) -> MessageConnection {
        MessageConnection {
            engine: self.engine.clone(),
            caller,
            client: Mutex::default(),
            awaited: Mutex::default(),
            news: News::of(&self.engine).map(Mutex::new),
        }
    }
}

impl MessageConnection {
    /// Judges a message on its way to the server.
    ///
    /// If this is dropped before it is done, the message must not go on.
    pub async fn from_client(&self, frame: &[u8]) -> FromClient {
        let arrival = Arrival::now();
        let message = parse(frame);
        let sessions = self.engine.sessions();
        let judge = self.engine.judge_for(&self.caller, &sessions);
        let judge = judge.map(|judge| judge.of_client(lock(&self.client).clone()));
        let judgement = loop {
            let judgement = match (&message, &judge) {
                (Err(refusal), _) | (_, Err(refusal)) => refusal.clone().into(),
                (Ok(message), Ok(judge)) => judge.judge(message, arrival.decision),
            };
            match sessions.pending() {
                Some(pending) => pending.await,
                None => break judgement,
            }
        };
        let (era, id) = match &message {
            Ok(Message::Request(id, call)) => (call.era(), Some(*id)),
            Ok(message) => (message.era(), None),
            Err(_) => (Era::Legacy, recover::request_id(frame)),
        };
        let message = message.as_ref().ok();
        let mut draft = self.draft(arrival, era, message, judgement, judge.as_ref().ok());
        let mut charged = match &judge {
            Ok(judge) => self.pay(judge, arrival, &mut draft).await,
            Err(_) => None,
        };
        let (refusal, runs) = (draft.refusal.clone(), draft.runs);
        let (open, receipt) = self.engine.decided(&draft);
        if let Some(refusal) = &refusal {
            let _ = settled(receipt.and(open.end(Ending::Refused))).await;
            return refuse(refusal, era, id);
        }
        if settled(receipt).await.is_err() && runs {
            open.take_back();
            return refuse(&engine::unrecorded(), era, id);
        }
        // From here on it is as good as on its way.
        if let Some(charged) = &mut charged {
            charged.sent();
        }
        if let (Some(Message::Request(_, call) | Message::Notification(call)), Ok(judge)) =
            (message, &judge)
        {
            self.note(|news| news.asked(id, call, frame, judge));
            if call.method == "notifications/cancelled" {
                if let Some(id) = changed::cancelled(frame) {
                    self.awaited().give_up(&id);
                }
            }
        }
        match (id, message, judge) {
            (Some(id), Some(Message::Request(_, call)), Ok(judge)) => {
                if let Some(client) = call.introduction() {
                    *lock(&self.client) = Some(client);
                }
                self.awaited().add(id, call, open, judge, charged);
            }
            _ => {
                let _ = settled(open.end(Ending::Sent)).await;
            }
        }
        FromClient::Forward
    }

    /// Judges a message on its way to the client.
    pub async fn from_server(&self, frame: &[u8]) -> FromServer {
        let sessions = self.engine.sessions();
        let judge = match self.engine.judge_for(&self.caller, &sessions) {
            Ok(judge) => judge,
            Err(refusal) => return self.withhold(&refusal, frame).await,
        };
        let mut filtered = list::filter(frame, &judge);
        if let Some(pending) = sessions.pending() {
            pending.await;
            filtered = list::filter(frame, &judge);
        }
        // One request sees one policy: its answer is another matter than the next
        // request's.
        if let Some(asked) = filtered
            .as_ref()
            .ok()
            .and_then(|it| self.asked_by(it, &judge))
        {
            let asked = asked.asking(&sessions);
            let asked = match judge.is_shut() {
                true => asked.with_only_answers(),
                false => asked,
            };
            filtered = list::filter(frame, &asked);
        }
        let Filtered { text, answers, .. } = match filtered {
            Ok(filtered) if filtered.is_foreign => return FromServer::Drop,
            Ok(filtered) => filtered,
            Err(unreadable) => return self.withhold(&bad_answer(unreadable), frame).await,
        };
        if answers.is_empty() {
            self.note(|news| news.passed(frame));
        }
        let receipts = answers
            .into_iter()
            .filter_map(|answer| self.receive(answer, frame, &sessions))
            .fold(Receipt::recorded(), Receipt::and);
        if let Some(pending) = sessions.pending() {
            pending.await;
        }
        let _ = settled(receipts).await;
        match text {
            None if has_line_end(frame) => FromServer::Replace(on_one_line(frame.to_vec())),
            None => FromServer::Forward,
            Some(filtered) => FromServer::Replace(on_one_line(filtered)),
        }
    }

    /// For a message of the server's that is too large to be held, and so to be
    /// judged: nobody knows which request it answers. What is given is sent to
    /// the client in the place of every answer that it awaits.
    ///
    /// ```
    /// # use mcp_policy::{Caller, MessageGuard, Policy};
    /// # futures::executor::block_on(async {
    /// # let policy: Policy = r#"{ "version": "1", "default": "allow" }"#.parse()?;
    /// let connection = MessageGuard::new(policy).connect(Caller::local());
    /// connection.from_client(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    ///
    /// let errors = connection.from_server_too_large().await;
    /// assert!(errors[0].starts_with(br#"{"jsonrpc":"2.0","id":1,"error":"#));
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// # })?;
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    pub async fn from_server_too_large(&self) -> Vec<Vec<u8>> {
        let text = "The server sent a message that is too large to be checked, in answer to this \
                    request or to another. If this was a call, it may have run: do not repeat it \
                    blindly, but ask for less at a time.";
        let refusal = Refusal::BadAnswer {
            text: text.to_owned(),
        };
        let requests = self.awaited().take_all();
        let mut receipts = Receipt::recorded();
        let mut errors = Vec::new();
        for request in requests {
            let id = Id::from_raw(&request.id);
            let era = Era::Legacy;
            errors.extend(id.map(|id| reply(&refusal, Asked { era, id: Some(id) }).body));
            receipts = receipts.and(request.open.end(Ending::Withheld));
        }
        let _ = settled(receipts).await;
        errors
    }

    /// The next message of our own for the client, which is to be sent between
    /// those of the server: that its lists have changed, because another policy
    /// holds. Only where the server has said that it tells of such changes; until
    /// there is one, this waits.
    ///
    /// To be waited for by one task at a time. If it is dropped before it is done,
    /// nothing is lost.
    pub async fn notification(&self) -> Vec<u8> {
        let Some(news) = &self.news else {
            return future::pending().await;
        };
        future::poll_fn(|context| lock(news).poll(&self.engine, &self.caller, context)).await
    }

    fn note(&self, note: impl FnOnce(&mut News)) {
        if let Some(news) = &self.news {
            note(&mut lock(news));
        }
    }

    /// What judged the request that this answers, if that was by another policy.
    fn asked_by(&self, filtered: &Filtered<'_>, now: &Judge) -> Option<Judge> {
        let [answer] = filtered.answers.as_slice() else {
            return None;
        };
        let awaited = self.awaited();
        let judge = awaited.judge_of(answer.id)?;
        let is_same = match (judge.policy(), now.policy()) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        (!is_same).then(|| judge.clone())
    }

    /// Notes the answer to a request that was awaited.
    fn receive(&self, answer: Answer<'_>, frame: &[u8], sessions: &Sessions) -> Option<Receipt> {
        let awaited = self.awaited().take(answer.id)?;
        self.note(|news| news.answered(awaited.question, answer.id, frame, &awaited.judge));
        if let (Some(task), Some(call)) = (answer.task, awaited.call) {
            if task.fits(call.wants_task) {
                let owner = TaskOwner::new(&self.caller, call.tool);
                sessions.begin_task(&task.id, owner);
            }
        }
        awaited.held.into_iter().for_each(Charged::ended);
        Some(awaited.open.end(Ending::Answered))
    }

    fn draft(
        &self,
        arrival: Arrival,
        era: Era,
        message: Option<&Message<'_>>,
        judgement: Judgement,
        judge: Option<&Judge>,
    ) -> Draft {
        let seen = Seen {
            caller: Some(&self.caller),
            session: None,
            era,
            kind: MessageKind::Unreadable,
            call: None,
            abilities: None,
        };
        let seen = match message {
            Some(message) => seen.with_message(message),
            None => seen,
        };
        self.engine.draft(arrival, seen, judgement, judge, None)
    }

    /// Has a message that may go on approved and charged; if it cannot be, it is
    /// refused.
    async fn pay(
        &self,
        judge: &Judge,
        arrival: Arrival,
        draft: &mut Draft,
    ) -> Option<Box<Charged>> {
        if draft.question().is_some() {
            let charging = self.engine.could_charge(judge, arrival, draft);
            self.settle(charging, draft).await;
        }
        let approved = self.approve(judge, draft).await;
        let mut charged = self.charge(judge, arrival, draft).await;
        let approved = approved.filter(|_| draft.refusal.is_none());
        if let Some(approved) = approved {
            let used = match self.engine.use_up(judge, approved) {
                Using::Known(used) => used,
                Using::Awaited(used) => used.await,
            };
            if let Some(why) = unused(&used) {
                draft.refuse_unapproved(&why);
                return None;
            }
        }
        draft.refuse_hidden(&mut charged);
        charged
    }

    /// Asks for the approval that a message needs; if there is none, it is refused.
    async fn approve(&self, judge: &Judge, draft: &mut Draft) -> Option<Approved> {
        let approving = self
            .engine
            .approve(draft.question()?, draft.wait(judge, None, None, None));
        let approved = match approving {
            Approving::Known(approved) => approved,
            Approving::Awaited(approval) => match approval.await {
                Held::Settled(approved) => approved,
                // It was not waited for a decision.
                Held::Decided(_) => Err(Unapproved::Store),
            },
        };
        draft.settle(approved)
    }

    /// Charges a message that may go on; if it cannot be, it is refused.
    async fn charge(
        &self,
        judge: &Judge,
        arrival: Arrival,
        draft: &mut Draft,
    ) -> Option<Box<Charged>> {
        let charging = self.engine.charge(judge, arrival, std::iter::once(&*draft));
        self.settle(charging, draft).await
    }

    async fn settle(&self, charging: Charging, draft: &mut Draft) -> Option<Box<Charged>> {
        let bill = match charging {
            Charging::Known(bill) => bill,
            Charging::Awaited(bill) => bill.await,
        };
        match bill {
            Ok(paid) => {
                if let Some(quota) = paid.over {
                    draft.note_over(&quota);
                }
                paid.charged
            }
            Err(shortage) => {
                draft.refuse(&shortage);
                None
            }
        }
    }

    fn awaited(&self) -> MutexGuard<'_, Awaited> {
        lock(&self.awaited)
    }

    /// What the client is sent in the place of a message that cannot be passed
    /// on.
    async fn withhold(&self, refusal: &Refusal, frame: &[u8]) -> FromServer {
        let Unread::Answer(id) = recover::server_message(frame) else {
            return FromServer::Drop;
        };
        let awaited = self.awaited().take(id.raw());
        if let Some(awaited) = awaited {
            let _ = settled(awaited.open.end(Ending::Withheld)).await;
        }
        let asked = Asked {
            era: Era::Legacy,
            id: Some(id),
        };
        FromServer::Replace(reply(refusal, asked).body)
    }
}

fn parse(frame: &[u8]) -> Result<Message<'_>, Refusal> {
    if has_line_end(frame) {
        return Err(Refusal::malformed("A message must stand on one line."));
    }
    Ok(Message::parse(frame)?)
}

/// Waits for a record, but not for long.
async fn settled(receipt: Receipt) -> Result<(), Unrecorded> {
    match receipt.settle() {
        Settlement::Known(result) => result,
        Settlement::Awaited(settling) => settling.await,
    }
}

fn refuse(refusal: &Refusal, era: Era, id: Option<Id<'_>>) -> FromClient {
    match id {
        Some(_) => FromClient::Refuse(reply(refusal, Asked { era, id }).body),
        None => FromClient::Drop,
    }
}

fn bad_answer(unreadable: Unreadable) -> Refusal {
    let text = unreadable.explain();
    Refusal::BadAnswer { text }
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

#[cfg(test)]
mod tests;
