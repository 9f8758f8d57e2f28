//! Arrays of messages, which clients of 2025-03-26 may send.

use std::sync::Arc;

use super::exchange::{Asked, Exchange};
use super::incoming::{Incoming, Judged, Refused};
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
        let messages = match Message::parse_batch(body) {
            Ok(messages) => messages,
            Err(fault) => return self.refuse(unread, fault.into()),
        };
        let caller = self.config.caller(self.head);
        let checked = self
            .check_batch(&messages)
            .and_then(|()| self.judge_for(&caller));
        let judge = match checked {
            Ok(judge) => judge,
            Err(refusal) => {
                let judged = Err((refusal.into(), None));
                return self.judged(None, unread, caller.ok(), judged);
            }
        };
        let decisions = self.decide(&judge, &messages);
        let era = unread.era;
        let mut recorded: Option<(OpenDecisions, Receipt)> = None;
        for (message, (decision, judgement)) in messages.iter().zip(&decisions) {
            let caller = Some(judge.caller());
            let policy = judge.policy();
            let (open, receipt) =
                self.record(*decision, Some(message), era, caller, judgement, policy);
            recorded = Some(match recorded {
                None => (open.into(), receipt),
                Some((mut all, receipts)) => {
                    all.push(open);
                    (all, receipts.and(receipt))
                }
            });
        }
        let Some((open, receipt)) = recorded else {
            // An empty array is no batch.
            let judged = Err((Refusal::from(Fault::NotAnObject).into(), None));
            return self.judged(None, unread, caller.ok(), judged);
        };
        let refusal = decisions
            .iter()
            .find_map(|(_, judgement)| judgement.refusal.clone());
        let runs = decisions.iter().any(|(_, judgement)| judgement.runs);
        let result = match refusal {
            None => Ok(Exchange {
                config: Arc::clone(self.config),
                judge,
                asked: self.asked_by(&messages, unread),
            }),
            Some(first) => {
                let refusals =
                    messages
                        .iter()
                        .zip(&decisions)
                        .filter_map(|(message, (_, judgement))| {
                            Some((id_of(message), judgement.refusal.as_ref()?))
                        });
                Err(Box::new(Refused {
                    config: Arc::clone(self.config),
                    refusal: reply::batch(refusals, era).unwrap_or(first),
                    asked: unread,
                    caller: Some(judge.caller().clone()),
                    is_message: false,
                }))
            }
        };
        Judged {
            result,
            open,
            receipt,
            runs,
        }
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

    fn asked_by(self, messages: &[Message<'_>], unread: Asked) -> Asked {
        let mut asked = unread;
        for message in messages {
            if let Message::Request(id, call) = message {
                asked.for_list |= call.method.ends_with("/list");
                asked.calls.extend(self.call_of(*id, call));
            }
        }
        asked
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

fn id_of<'m>(message: &Message<'m>) -> Option<Id<'m>> {
    match message {
        Message::Request(id, _) => Some(*id),
        Message::Notification(_) | Message::Response => None,
    }
}
