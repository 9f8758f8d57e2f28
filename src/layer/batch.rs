//! Arrays of messages, which clients of 2025-03-26 may send.

use super::exchange::{Asked, Waiting};
use super::incoming::{Incoming, Judged, copy};
use crate::audit::{DecisionId, OpenDecisions, Receipt};
use crate::engine::{Judge, Judgement};
use crate::mcp::fault::Fault;
use crate::mcp::headers;
use crate::mcp::message::{Id, Message};
use crate::mcp::reply::{self, Refusal};
use crate::mcp::version::Era;

impl Incoming<'_> {
    /// Judges every message of an array. It goes on whole or not at all: so it
    /// is what was judged, and nothing has to be put together from two sources.
    pub(super) fn judge_batch(self, unread: Asked, body: &[u8]) -> Judged {
        let messages = match self.read_batch(body) {
            Ok(messages) => messages,
            Err(refusal) => return self.refuse(unread, refusal),
        };
        let mut asked = Asked {
            waiting: waiting_in(&messages),
            ..unread
        };
        let caller = self.config.caller(self.head);
        let judge = match self.judge_for(&caller) {
            Ok(judge) => judge,
            Err(refusal) => {
                let mut judged = self.refuse(asked, refusal);
                if let Err(refused) = &mut judged.result {
                    refused.is_message = true;
                }
                return judged;
            }
        };
        let decisions = self.decide(&judge, &messages);
        let Some((open, receipt)) = self.record_batch(&judge, asked.era, &messages, &decisions)
        else {
            // An empty array is no batch.
            return self.refuse(asked, Fault::NotAnObject.into());
        };
        let caller = Some(judge.caller().clone());
        let judge = match refusal_of(&messages, &decisions, asked.era) {
            None => {
                self.add_calls(&mut asked, &messages);
                Ok(judge)
            }
            Some(refusal) => Err(refusal),
        };
        Judged {
            result: self.outcome(judge, asked, caller, true),
            open,
            receipt,
            runs: decisions.iter().any(|(_, judgement)| judgement.runs),
        }
    }

    fn read_batch<'b>(self, body: &'b [u8]) -> Result<Vec<Message<'b>>, Refusal> {
        let messages = Message::parse_batch(body)?;
        self.check_batch(&messages)?;
        Ok(messages)
    }

    /// Records what was decided of each message; `None` if there is none.
    fn record_batch(
        self,
        judge: &Judge,
        era: Era,
        messages: &[Message<'_>],
        decisions: &[(DecisionId, Judgement)],
    ) -> Option<(OpenDecisions, Receipt)> {
        let (caller, policy) = (Some(judge.caller()), judge.policy());
        let mut records = messages
            .iter()
            .zip(decisions)
            .map(|(message, (id, judgement))| {
                self.record(*id, Some(message), era, caller, judgement, policy)
            });
        let (first, receipt) = records.next()?;
        let first = (OpenDecisions::from(first), receipt);
        Some(records.fold(first, |(mut all, receipts), (open, receipt)| {
            all.push(open);
            (all, receipts.and(receipt))
        }))
    }

    /// Refuses arrays that are none of 2025-03-26, and those that servers read
    /// differently.
    fn check_batch(self, messages: &[Message<'_>]) -> Result<(), Refusal> {
        let mut ids: Vec<Id<'_>> = Vec::new();
        for message in messages {
            if headers::era_of_message(&self.head.headers, message) == Era::Modern {
                return Err(Fault::Batch.into());
            }
            headers::check(&self.head.headers, message)?;
            if let Message::Request(id, call) = message {
                if call.method == "initialize" {
                    return Err(Refusal::malformed(
                        "`initialize` must not be part of a batch.",
                    ));
                }
                if ids.iter().any(|other| other.is_echoed_by(id.raw())) {
                    return Err(Refusal::malformed(
                        "Two messages of the batch have the same id.",
                    ));
                }
                ids.push(*id);
            }
        }
        Ok(())
    }

    fn add_calls(self, asked: &mut Asked, messages: &[Message<'_>]) {
        for message in messages {
            if let Message::Request(id, call) = message {
                asked.for_list |= call.method.ends_with("/list");
                asked.calls.extend(self.call_of(*id, call));
            }
        }
    }

    /// What becomes of each message. If one is refused, all are.
    fn decide(self, judge: &Judge, messages: &[Message<'_>]) -> Vec<(DecisionId, Judgement)> {
        let mut decisions: Vec<_> = messages
            .iter()
            .map(|message| {
                let decision = DecisionId::next();
                (decision, judge.judge(message, decision))
            })
            .collect();
        if decisions
            .iter()
            .any(|(_, judgement)| judgement.refusal.is_some())
        {
            for (_, judgement) in &mut decisions {
                if judgement.refusal.is_none() {
                    *judgement = Refusal::malformed(
                        "Not sent, because another message of the batch is refused. \
                         Send this one again by itself.",
                    )
                    .into();
                }
            }
        }
        decisions
    }
}

/// What each message that waits is told, if one of them is refused.
fn refusal_of(
    messages: &[Message<'_>],
    decisions: &[(DecisionId, Judgement)],
    era: Era,
) -> Option<Refusal> {
    let refusals = || {
        let judgements = decisions.iter().map(|(_, judgement)| judgement);
        messages
            .iter()
            .zip(judgements)
            .filter_map(|(message, judgement)| Some((id_of(message), judgement.refusal.as_ref()?)))
    };
    let (_, first) = refusals().next()?;
    reply::batch(refusals(), era).or_else(|| Some(first.clone()))
}

fn waiting_in(messages: &[Message<'_>]) -> Waiting {
    let ids: Vec<_> = messages.iter().filter_map(id_of).map(copy).collect();
    if ids.is_empty() {
        Waiting::Nobody
    } else {
        Waiting::Batch(ids)
    }
}

fn id_of<'m>(message: &Message<'m>) -> Option<Id<'m>> {
    match message {
        Message::Request(id, _) => Some(*id),
        Message::Notification(_) | Message::Response => None,
    }
}
