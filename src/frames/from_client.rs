//! What becomes of a message of the client's.

use std::future::poll_fn;

use super::awaited::Going;
use super::{FromClient, MessageConnection, has_line_end, noted, on_one_line, settled};
use crate::audit::{Ending, MessageKind, OpenDecisions};
use crate::engine::{
    self, Admission, Admitted, Admitting, Arrival, Ended, Engine, Entrant, Judge, Judgement,
    Recorded, Seen,
};
use crate::lock::lock;
use crate::mcp::changed;
use crate::mcp::message::{Id, Message};
use crate::mcp::recover;
use crate::mcp::reply::{Asked, Refusal, reply};
use crate::mcp::version::Era;

/// A message on its way to the server.
struct Asking<'c> {
    engine: &'c Engine,
    admission: Admission,
}

impl Entrant for Asking<'_> {
    fn admission(&mut self) -> (&Engine, &mut Admission) {
        (self.engine, &mut self.admission)
    }
}

impl MessageConnection {
    /// Judges a message on its way to the server.
    ///
    /// If this is dropped before it is done, the message must not go on.
    pub async fn from_client(&self, frame: &[u8]) -> FromClient {
        let arrival = Arrival::now();
        let message = parse(frame);
        let (era, id) = match &message {
            Ok(Message::Request(id, call)) => (call.era(), Some(*id)),
            Ok(message) => (message.era(), None),
            Err(_) => (Era::Legacy, recover::request_id(frame)),
        };
        let judged = self.judge(arrival, &message, era).await;
        let mut admission = self.admit(judged).await;
        let rewritten = admission.rewritten(frame);
        let Recorded {
            refusal,
            open,
            receipt,
            runs,
        } = admission.record(&self.engine);
        let admitted = match refusal {
            None => admission.admitted().ok_or(Refusal::Failed),
            Some(refusal) => Err(refusal),
        };
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                noted(receipt.and(open.end(Ending::Refused))).await;
                return refuse(&refusal, era, id);
            }
        };
        if settled(receipt).await.is_err() && runs {
            open.take_back();
            return refuse(&engine::unrecorded(), era, id);
        }
        self.pass_on(message.ok(), frame, admitted, open).await;
        match rewritten {
            Some(message) => FromClient::Replace(on_one_line(message)),
            None => FromClient::Forward,
        }
    }

    async fn judge(
        &self,
        arrival: Arrival,
        message: &Result<Message<'_>, Refusal>,
        era: Era,
    ) -> Admission {
        let sessions = self.engine.sessions();
        let judge = self.engine.judge_for(&self.caller, &sessions);
        let judge = judge.map(|judge| judge.of_client(lock(&self.client).clone()));
        let judgement = loop {
            let judgement = match (message, &judge) {
                (Err(refusal), _) | (_, Err(refusal)) => refusal.clone().into(),
                (Ok(message), Ok(judge)) => judge.judge(message, arrival.decision),
            };
            match sessions.pending() {
                Some(pending) => pending.await,
                None => break judgement,
            }
        };
        self.judged(arrival, (message.as_ref().ok(), era), judgement, judge.ok())
    }

    fn judged(
        &self,
        arrival: Arrival,
        (message, era): (Option<&Message<'_>>, Era),
        judgement: Judgement,
        judge: Option<Judge>,
    ) -> Admission {
        let brought = match (message, &judge) {
            (Some(Message::Request(_, call)), Some(judge)) => {
                self.engine.brought(call, era, (judge, false))
            }
            _ => Ok(None),
        };
        let (mut judgement, brought) = match brought {
            Ok(brought) => (judgement, brought),
            Err(refusal) => (refusal.into(), None),
        };
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
        let judge_of_it = judge.as_ref();
        let draft = self
            .engine
            .draft(arrival, seen, &mut judgement, judge_of_it, brought);
        Admission::new(arrival, judge, draft)
    }

    async fn admit(&self, admission: Admission) -> Admission {
        let asking = Asking {
            engine: &self.engine,
            admission,
        };
        match engine::admit(asking) {
            Admitting::Known(asking) => asking.admission,
            Admitting::Awaited(mut awaited) => {
                match poll_fn(|context| awaited.poll(context)).await {
                    Ended::Settled(asking) => asking.admission,
                    // Nothing is held here, and so nothing has to be judged again. What is
                    // not admitted is refused.
                    Ended::Again(asking, _) => asking.admission,
                }
            }
        }
    }

    /// From here on it is as good as on its way.
    async fn pass_on(
        &self,
        message: Option<Message<'_>>,
        frame: &[u8],
        admitted: Admitted,
        open: OpenDecisions,
    ) {
        let Admitted {
            judge,
            mut charged,
            following,
        } = admitted;
        if let Some(charged) = &mut charged {
            charged.sent();
        }
        let (id, call) = match message {
            Some(Message::Request(id, call)) => (Some(id), Some(call)),
            Some(Message::Notification(call)) => (None, Some(call)),
            Some(Message::Response) | None => (None, None),
        };
        if let Some(call) = &call {
            self.note(|news| news.asked(id, call, frame, &judge));
            if call.method == "notifications/cancelled" {
                if let Some(id) = changed::cancelled(frame) {
                    self.awaited().give_up(&id);
                }
            }
        }
        match id.zip(call) {
            Some((id, call)) => {
                if let Some(client) = call.introduction() {
                    *lock(&self.client) = Some(client);
                }
                let going = Going {
                    open,
                    judge,
                    charged,
                    following,
                };
                self.awaited().add(id, &call, going);
            }
            None => {
                noted(open.end(Ending::Sent)).await;
            }
        }
    }
}

fn parse(frame: &[u8]) -> Result<Message<'_>, Refusal> {
    if has_line_end(frame) {
        return Err(Refusal::malformed("A message must stand on one line."));
    }
    Ok(Message::parse(frame)?)
}

fn refuse(refusal: &Refusal, era: Era, id: Option<Id<'_>>) -> FromClient {
    match id {
        Some(_) => FromClient::Refuse(reply(refusal, Asked { era, id }).body),
        None => FromClient::Drop,
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::{Caller, MessageGuard};

    /// Whatever a transport leaves out.
    #[test]
    fn what_was_not_asked_everything_that_it_has_to_be_does_not_go_on() {
        let guard = MessageGuard::new(r#"{"version":"1","default":"allow"}"#.parse().unwrap());
        let connection = guard.connect(Caller::local());
        let judge = || {
            let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;
            block_on(connection.judge(Arrival::now(), &parse(call), Era::Legacy))
        };
        let recorded = judge().record(&connection.engine);
        assert!(recorded.refusal.is_some() && !recorded.open.record().is_allowed());
        let admitted = block_on(connection.admit(judge())).record(&connection.engine);
        assert!(admitted.refusal.is_none() && admitted.open.record().is_allowed());
    }
}
