//! What is read of a message, for whoever holds two readings against each other.

use super::message::Message;
use super::params::{self, Name, Param, Params};
use crate::json::Kind;

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
    Some(reading_of(&Message::parse(body).ok()?))
}

/// Reads an array of messages as the crate does.
pub fn read_batch(body: &[u8]) -> Option<Vec<Reading>> {
    let messages = Message::parse_batch(body).ok()?;
    Some(messages.iter().map(reading_of).collect())
}

fn reading_of(message: &Message<'_>) -> Reading {
    let (kind, call) = match message {
        Message::Request(_, call) => ("request", Some(call)),
        Message::Notification(call) => ("notification", Some(call)),
        Message::Response => ("response", None),
    };
    let params = call.and_then(|call| call.params.as_ref());
    let named = |param| said(params.and_then(|params| params.named(param)));
    let meta = params.map(|params| &params.meta);
    Reading {
        kind,
        method: call.map(|call| call.method.to_string()),
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
        subscriptions: params
            .and_then(|params| params.subscriptions.as_deref())
            .map(|subscriptions| match subscriptions {
                params::Subscriptions::To { resources, tasks } => Some(Subscriptions {
                    resources: resources.iter().map(ToString::to_string).collect(),
                    tasks: tasks.iter().map(ToString::to_string).collect(),
                }),
                params::Subscriptions::Unreadable => None,
            }),
    }
}

fn said(name: Option<&Name<'_>>) -> Said {
    match name {
        None => Said::Absent,
        Some(Name::Text(name)) => Said::Text(name.to_string()),
        Some(Name::Unreadable) => Said::Unreadable,
    }
}
