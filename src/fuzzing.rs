//! What the fuzz targets in `fuzz/` see of the inside.
//!
//! No part of the crate's interface: there is none of it outside of tests and
//! builds for fuzzing.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::caller::Caller;
use crate::engine::{Engine, Judge};
use crate::json::Kind;
use crate::mcp::list::{self, List, Visibility as _};
use crate::mcp::message::Message;
use crate::mcp::params::{self, Name, Param, Params};
use crate::mcp::sse::{Event, Splitter, Verdict};
use crate::mcp::twin;
use crate::policy::Policy;

/// What is read of a message: everything that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `request`, `notification` or `response`.
    pub kind: &'static str,
    /// The method, unless it is a response.
    pub method: Option<String>,
    /// `params.name`.
    pub name: Said,
    /// `params.uri`.
    pub uri: Said,
    /// `params.taskId`.
    pub task_id: Said,
    /// Whether `params.arguments` are absent, `null` or an object.
    pub arguments_readable: bool,
    /// The first 64 names in `params.arguments`.
    pub argument_keys: Vec<String>,
    /// The protocol version in `params._meta`.
    pub protocol_version: Said,
    /// Whether the client capabilities in `params._meta` are an object.
    pub has_capabilities: bool,
    /// `params.ref`; `Some(None)` if it refers to nothing.
    pub reference: Option<Option<Reference>>,
    /// `params.notifications`; `Some(None)` if they are not readable.
    pub subscriptions: Option<Option<Subscriptions>>,
}

/// A member that should be a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is not there.
    Absent,
    /// It is one.
    Text(String),
    /// It is something else, or too long.
    Unreadable,
}

/// What `params.ref` refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The prompt of this name.
    Prompt(String),
    /// The resource at this URI.
    Resource(String),
}

/// What `params.notifications` asks to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriptions {
    /// The URIs.
    pub resources: Vec<String>,
    /// The task ids.
    pub tasks: Vec<String>,
}

/// Reads a message as the crate does.
pub fn read(body: &[u8]) -> Option<Reading> {
    let message = Message::parse(body).ok()?;
    let (kind, call) = match message {
        Message::Request(_, call) => ("request", Some(call)),
        Message::Notification(call) => ("notification", Some(call)),
        Message::Response => ("response", None),
    };
    let params = call.as_ref().and_then(|call| call.params.as_ref());
    let named = |param| said(params.and_then(|params| params.named(param)));
    let meta = params.map(|params| &params.meta);
    Some(Reading {
        kind,
        method: call.as_ref().map(|call| call.method.to_string()),
        name: named(Param::Name),
        uri: named(Param::Uri),
        task_id: named(Param::TaskId),
        arguments_readable: params.is_none_or(Params::has_readable_arguments),
        argument_keys: params
            .map(|params| params.argument_keys().map(str::to_owned).collect())
            .unwrap_or_default(),
        protocol_version: said(meta.and_then(|meta| meta.protocol_version.as_ref())),
        has_capabilities: meta.is_some_and(|meta| meta.client_capabilities == Some(Kind::Object)),
        reference: params
            .and_then(|params| params.reference.as_ref())
            .map(|reference| match reference {
                params::Reference::Prompt(name) => Some(Reference::Prompt(name.to_string())),
                params::Reference::Resource(uri) => Some(Reference::Resource(uri.to_string())),
                params::Reference::Unreadable => None,
            }),
        subscriptions: params.and_then(|params| params.subscriptions.as_ref()).map(
            |subscriptions| match subscriptions {
                params::Subscriptions::To { resources, tasks } => Some(Subscriptions {
                    resources: resources.iter().map(ToString::to_string).collect(),
                    tasks: tasks.iter().map(ToString::to_string).collect(),
                }),
                params::Subscriptions::Unreadable => None,
            },
        ),
    })
}

/// Reads a message slowly, and in another way.
pub fn read_slowly(body: &[u8]) -> Option<Reading> {
    twin::read(body)
}

fn said(name: Option<&Name<'_>>) -> Said {
    match name {
        None => Said::Absent,
        Some(Name::Text(name)) => Said::Text(name.to_string()),
        Some(Name::Unreadable) => Said::Unreadable,
    }
}

/// Takes out of answers what one policy hides.
#[derive(Debug)]
pub struct Filter(Judge);

impl Filter {
    /// The filter of this policy.
    pub fn new(policy: Policy) -> Option<Self> {
        Engine::new(policy)
            .judge_for(&Caller::local())
            .ok()
            .map(Self)
    }

    /// The answer without what is hidden; `None` if it cannot be shown.
    pub fn filter(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let filtered = list::filter(answer, &self.0).ok()?;
        Some(filtered.text.unwrap_or_else(|| answer.to_vec()))
    }

    /// Whether a list of this kind is looked at; `None` if there is none.
    pub fn may_hide(&self, list: &str) -> Option<bool> {
        Some(self.0.may_hide(list_of(list)?))
    }

    /// Whether an entry of this name is shown in it.
    pub fn shows(&self, list: &str, name: &str) -> bool {
        list_of(list).is_some_and(|list| self.0.shows(list, name))
    }
}

fn list_of(member: &str) -> Option<List> {
    Some(match member {
        "tools" => List::Tools,
        "prompts" => List::Prompts,
        "resources" => List::Resources,
        "resourceTemplates" => List::ResourceTemplates,
        "tasks" => List::Tasks,
        _ => return None,
    })
}

/// Splits a stream of server-sent events. `judge` is given the type and the
/// data of each, and gives back the data that it is to have; `None` leaves it
/// out. `None` if more would have to be held than the limit.
pub fn split(
    chunks: impl IntoIterator<Item = Bytes>,
    limit: usize,
    mut judge: impl FnMut(&[u8], &[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<Bytes>> {
    let mut splitter = Splitter::new(limit);
    let mut out = VecDeque::new();
    let mut judge = |event: Event<'_>| match judge(event.name, event.data) {
        Some(data) if data == event.data => Verdict::Forward,
        Some(data) => Verdict::Rewrite(data),
        None => Verdict::Drop,
    };
    for chunk in chunks {
        splitter.push(chunk, &mut judge, &mut out).ok()?;
    }
    Some(out.into())
}
