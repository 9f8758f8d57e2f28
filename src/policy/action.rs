use std::fmt;
use std::ops::Range;

use super::listed::ListedTools;
use super::pins::{Definitions, Seen};
use super::unwrap::is_object;
use crate::caller::Caller;

/// What a caller wants to do.
///
/// Without [arguments](Self::with_arguments) a call has none, and without a
/// [caller](Self::by) it is [anonymous](Caller::anonymous).
///
/// ```
/// use mcp_policy::{Action, Caller};
///
/// let alice = Caller::new("alice");
/// let action = Action::call_tool("read_file")
///     .with_arguments(r#"{ "path": "notes.txt" }"#)?
///     .by(&alice);
/// # Ok::<(), mcp_policy::InvalidArguments>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Action<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) arguments: Arguments<'a>,
    pub(super) caller: Option<&'a Caller>,
    pub(super) client: Option<&'a [u8]>,
    pub(super) seen: Seen<'a>,
}

/// What is acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    Tool(&'a str),
    Prompt(&'a str),
    Resource(&'a str),
    Method(&'a str),
}

/// What a tool or prompt is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arguments<'a> {
    /// Nothing that could be judged: a rule that looks at anything refuses.
    Unknown,
    /// As the text of a JSON object or `null`, empty if there are none; and where values
    /// stand in it that need not be read again.
    Text(&'a [u8], &'a [Range<usize>]),
}

impl fmt::Debug for Arguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Unknown",
            Self::Text(..) => "Text(..)",
        })
    }
}

/// Without the values of arguments, claims and what the client says of itself.
impl fmt::Debug for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action")
            .field("subject", &self.subject)
            .field("arguments", &self.arguments)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

impl<'a> Action<'a> {
    /// Calling the tool of this name.
    pub fn call_tool(name: &'a str) -> Self {
        Self::of(Subject::Tool(name))
    }

    /// Getting the prompt of this name.
    pub fn get_prompt(name: &'a str) -> Self {
        Self::of(Subject::Prompt(name))
    }

    /// Completing an argument of the prompt of this name. There is nothing to
    /// look at but the name, so a rule with checks refuses it.
    pub fn complete_prompt(name: &'a str) -> Self {
        Self {
            arguments: Arguments::Unknown,
            ..Self::of(Subject::Prompt(name))
        }
    }

    /// Reading the resource at this URI, subscribing to it, or completing a
    /// template of this text.
    pub fn read_resource(uri: &'a str) -> Self {
        Self::of(Subject::Resource(uri))
    }

    /// Sending a request or notification of this method, which the language
    /// neither judges by what it names nor always lets pass.
    pub fn other_method(method: &'a str) -> Self {
        Self::of(Subject::Method(method))
    }

    fn of(subject: Subject<'a>) -> Self {
        Self {
            subject,
            arguments: Arguments::Text(b"", &[]),
            caller: None,
            client: None,
            seen: Seen::default(),
        }
    }

    /// With these arguments, the text of a JSON object.
    ///
    /// # Errors
    ///
    /// If it is no object, or one that two JSON readers could take for different
    /// things: the layer refuses such a message before it judges it.
    pub fn with_arguments(self, arguments: &'a str) -> Result<Self, InvalidArguments> {
        if is_object(arguments.as_bytes()) {
            Ok(self.with_read_arguments(arguments.as_bytes(), &[]))
        } else {
            Err(InvalidArguments(()))
        }
    }

    /// With arguments of a message that was read, and where some of its long values stand
    /// in them.
    pub(crate) fn with_read_arguments(
        mut self,
        arguments: &'a [u8],
        long_values: &'a [Range<usize>],
    ) -> Self {
        self.arguments = Arguments::Text(arguments, long_values);
        self
    }

    /// On a server that lists its tools so, by which `risk` and `pins` of a policy judge it;
    /// see [`ListedTools`] for an example. Without this no tool was seen: all are at least
    /// `unknown`, and what is pinned is taken to be as it was.
    #[must_use]
    pub fn with_tools(self, tools: &'a ListedTools) -> Self {
        self.with_definitions(tools)
    }

    /// On a server of whose tools these definitions were seen.
    pub(crate) fn with_definitions(mut self, seen: &'a dyn Definitions) -> Self {
        self.seen = Seen(Some(seen));
        self
    }

    /// By this caller, at whom conditions on `caller` look.
    #[must_use]
    pub fn by(mut self, caller: &'a Caller) -> Self {
        self.caller = Some(caller);
        self
    }

    /// By a client that says this of itself, the text of a JSON object: its
    /// `clientInfo`, at which conditions on `client` look.
    ///
    /// # Errors
    ///
    /// Like [`with_arguments`](Self::with_arguments).
    pub fn with_client(self, client: &'a str) -> Result<Self, InvalidArguments> {
        if is_object(client.as_bytes()) {
            Ok(self.with_read_client(Some(client.as_bytes())))
        } else {
            Err(InvalidArguments(()))
        }
    }

    /// By a client that said this of itself in a message that was read; `None`
    /// if that is not known.
    pub(crate) fn with_read_client(mut self, client: Option<&'a [u8]>) -> Self {
        self.client = client;
        self
    }
}

/// What should be the text of a JSON object is none, or one that JSON readers
/// could take for different things: it has a key twice, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidArguments(());

impl fmt::Display for InvalidArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not the text of one JSON object that every reader understands alike")
    }
}

impl std::error::Error for InvalidArguments {}
