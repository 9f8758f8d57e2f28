//! What becomes of a message of the server's.

use super::awaited::Request;
use super::{FromServer, MessageConnection, has_line_end, noted, on_one_line};
use crate::audit::{Ending, Receipt};
use crate::engine::{Charged, Judge, Sessions};
use crate::mcp::list::{self, Answer, Filtered, Unreadable};
use crate::mcp::message::Id;
use crate::mcp::recover::{self, Unread};
use crate::mcp::reply::{Asked, Refusal, reply};
use crate::mcp::rounds::{AskedByServer, asks_more};
use crate::mcp::version::Era;
use crate::session::TaskOwner;

impl MessageConnection {
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
        let mut text = text;
        let mut receipts = Receipt::recorded();
        for answer in answers {
            let Some(request) = self.receive(answer, frame, &sessions) else {
                continue;
            };
            let followed = self.follow(&request, text.as_deref().unwrap_or(frame));
            text = followed.or(text);
            receipts = receipts.and(request.open.end(Ending::Answered));
        }
        if let Some(pending) = sessions.pending() {
            pending.await;
        }
        noted(receipts).await;
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
        noted(receipts).await;
        errors
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
    fn receive(&self, answer: Answer<'_>, frame: &[u8], sessions: &Sessions) -> Option<Request> {
        let mut awaited = self.awaited().take(answer.id)?;
        self.note(|news| news.answered(awaited.question, answer.id, frame, &awaited.judge));
        if let (Some(task), Some(call)) = (answer.task, awaited.call.take()) {
            if task.fits(call.wants_task) {
                let owner = TaskOwner::new(&self.caller, call.tool);
                sessions.begin_task(&task.id, owner);
            }
        }
        awaited.held.drain(..).for_each(Charged::ended);
        Some(awaited)
    }

    /// The message with which the client is to come back, if this answers with another
    /// round.
    fn follow(&self, request: &Request, answer: &[u8]) -> Option<Vec<u8>> {
        let following = request.following.as_ref()?;
        if !asks_more(answer) {
            return None;
        }
        let more = AskedByServer::by(answer)?;
        let decision = request.open.record();
        let engine = &self.engine;
        engine.follow(following, &request.judge, decision, (&more, answer))
    }

    /// What the client is sent in the place of a message that cannot be passed
    /// on.
    async fn withhold(&self, refusal: &Refusal, frame: &[u8]) -> FromServer {
        let Unread::Answer(id) = recover::server_message(frame) else {
            return FromServer::Drop;
        };
        let awaited = self.awaited().take(id.raw());
        if let Some(awaited) = awaited {
            noted(awaited.open.end(Ending::Withheld)).await;
        }
        let asked = Asked {
            era: Era::Legacy,
            id: Some(id),
        };
        FromServer::Replace(reply(refusal, asked).body)
    }
}

fn bad_answer(unreadable: Unreadable) -> Refusal {
    let text = unreadable.explain();
    Refusal::BadAnswer { text }
}
