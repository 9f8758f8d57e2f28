//! Arrays of messages, which clients of 2025-03-26 may send.

use super::exchange::{Asked, Waiting};
use super::incoming::{Incoming, copy};
use super::judged::Judged;
use crate::audit::DecisionId;
use crate::engine::{Draft, Judge};
use crate::mcp::fault::Fault;
use crate::mcp::headers;
use crate::mcp::message::{Id, Message};
use crate::mcp::reply::Refusal;
use crate::mcp::version::Era;
use crate::policy::MOST_CHARGES;

impl Incoming<'_> {
    /// Judges every message of an array. It goes on whole or not at all: so it
    /// is what was judged, and nothing has to be put together from two sources.
    pub(super) fn judge_batch(&self, unread: Asked, body: &[u8]) -> Box<Judged> {
        let messages = match self.read_batch(body) {
            Ok(messages) => messages,
            Err(refusal) => return self.refuse(unread, refusal),
        };
        let mut asked = Asked {
            waiting: waiting_in(&messages),
            ..unread
        };
        let caller = self.config.caller(self.head);
        let judge = match self.judge_for(&caller, Era::Legacy) {
            Ok(judge) => judge,
            Err(refusal) => {
                return self.refuse(asked, refusal).of_message();
            }
        };
        let mut drafts = messages
            .iter()
            .map(|message| self.judge_one(&judge, asked.era, message));
        let Some(first) = drafts.next() else {
            // An empty array is no batch.
            return self.refuse(asked, Fault::NotAnObject.into());
        };
        let others: Vec<Draft> = drafts.collect();
        if quotas_of(std::iter::once(&first).chain(&others)) > MOST_CHARGES {
            return self.refuse(asked, too_many_quotas()).of_message();
        }
        self.add_calls(&mut asked, &messages);
        Judged::batch(self, asked, judge, first, others)
    }

    fn judge_one(&self, judge: &Judge, era: Era, message: &Message<'_>) -> Draft {
        let decision = DecisionId::next();
        let mut judgement = judge.judge(message, decision);
        let caller = Some(judge.caller());
        let message = (Some(message), None);
        self.draft(decision, message, era, caller, &mut judgement, Some(judge))
    }

    fn read_batch<'b>(&self, body: &'b [u8]) -> Result<Vec<Message<'b>>, Refusal> {
        let messages = Message::parse_batch(body)?;
        self.check_batch(&messages)?;
        Ok(messages)
    }

    /// Refuses arrays that are none of 2025-03-26, and those that servers read
    /// differently.
    fn check_batch(&self, messages: &[Message<'_>]) -> Result<(), Refusal> {
        let mut ids: Vec<Id<'_>> = Vec::new();
        for message in messages {
            if self.mirror.era_of(message) == Era::Modern {
                return Err(Fault::Batch.into());
            }
            headers::check(self.mirror, message)?;
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

    fn add_calls(&self, asked: &mut Asked, messages: &[Message<'_>]) {
        for message in messages {
            if let Message::Request(id, call) = message {
                asked.for_list |= call.method.ends_with("/list");
                let tool = self.tool_of(call, None);
                let call = tool.map(|tool| self.call_of(copy(*id), call, tool));
                asked.calls.extend(call);
            }
        }
    }
}

/// How many quotas these use up.
fn quotas_of<'d>(drafts: impl Iterator<Item = &'d Draft>) -> usize {
    let enforced = drafts
        .flat_map(Draft::spending)
        .filter(|spending| spending.enforced);
    let mut quotas: Vec<_> = enforced.map(|spending| spending.quota.id()).collect();
    quotas.sort_unstable();
    quotas.dedup();
    quotas.len()
}

fn too_many_quotas() -> Refusal {
    Refusal::malformed(
        "The messages of this batch use up more different limits than can be counted at once: \
         send fewer of them together.",
    )
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
