//! The parameters of a message, as far as the protocol gives them a meaning.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::fault::Fault;
use super::key;
use crate::json::{Kind, Reader};

/// Bytes that the name of a tool or prompt may have.
const LONGEST_NAME: usize = 1024;
/// Bytes that a URI or task id may have.
const LONGEST_URI: usize = 8 * 1024;
/// Resources or tasks that one subscription may name.
const MOST_SUBSCRIPTIONS: usize = 1000;
/// The extension by which a client of 2026-07-28 says that it can follow tasks.
pub(crate) const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// Bytes that may say what a client is.
const LONGEST_CLIENT_INFO: usize = 1024;
/// Names of arguments that are remembered.
const MOST_ARGUMENT_KEYS: usize = 64;
/// Bytes from which it pays to remember where the value of an argument stands.
const LONG_VALUE: usize = 64;

/// The members of `params` that the protocol knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    // Those of which the value is kept as it is written come first.
    Arguments,
    InputResponses,
    RequestState,
    Task,
    Name,
    Uri,
    TaskId,
    Meta,
    Cursor,
    Ref,
    Notifications,
}

/// How many of them are kept as they are written.
const KEPT: usize = Param::Name as usize;

impl Param {
    #[inline(always)]
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "name" => Self::Name,
            "uri" => Self::Uri,
            "taskId" => Self::TaskId,
            "arguments" => Self::Arguments,
            "_meta" => Self::Meta,
            "cursor" => Self::Cursor,
            "ref" => Self::Ref,
            "inputResponses" => Self::InputResponses,
            "requestState" => Self::RequestState,
            "notifications" => Self::Notifications,
            "task" => Self::Task,
            _ => return None,
        })
    }
}

/// An object of parameters.
#[derive(Debug, Default)]
pub(crate) struct Params<'a> {
    /// The object as it is written in the body.
    pub(crate) raw: &'a [u8],
    /// The values of those that are kept, as the spans of the body that they are.
    spans: [Option<&'a [u8]>; KEPT],
    name: Option<Name<'a>>,
    uri: Option<Name<'a>>,
    task_id: Option<Name<'a>>,
    argument_keys: SmallVec<[Cow<'a, str>; 8]>,
    /// Where the long values of these stand in `arguments`.
    long_arguments: SmallVec<[Range<usize>; 2]>,
    pub(crate) meta: Meta<'a>,
    /// The object `clientInfo` of `initialize`, as it is written in the body.
    pub(crate) client_info: Option<&'a [u8]>,
    /// What `capabilities` of `initialize` name.
    pub(crate) capabilities: Capabilities,
    pub(crate) reference: Option<Reference<'a>>,
    pub(crate) subscriptions: Option<Box<Subscriptions<'a>>>,
}

/// A member that should name something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    Text(Cow<'a, str>),
    /// Not a string, or one longer than any name.
    Unreadable,
}

/// What `params._meta` says of the client (2026-07-28).
#[derive(Debug, Default)]
pub(crate) struct Meta<'a> {
    pub(crate) protocol_version: Option<Name<'a>>,
    /// The type of `clientCapabilities`.
    pub(crate) client_capabilities: Option<Kind>,
    /// What these name.
    pub(crate) capabilities: Capabilities,
    /// The object `clientInfo`, as it is written in the body.
    pub(crate) client_info: Option<&'a [u8]>,
    /// The trace that the message belongs to: `traceparent` (SEP-414).
    pub(crate) trace_parent: Option<Name<'a>>,
}

/// What a client says that it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Follow tasks (2026-07-28).
    pub(crate) tasks: bool,
    pub(crate) elicitation: Elicitation,
}

/// How a client can ask its user for something: the capability `elicitation`. By default
/// it cannot.
///
/// ```
/// use mcp_policy::Elicitation;
///
/// let mut ways = Elicitation::default();
/// ways.form = true;
/// assert!(!ways.url);
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elicitation {
    /// By a form.
    pub form: bool,
    /// By the address of a page that is to be opened.
    pub url: bool,
}

/// What `params.ref` of `completion/complete` refers to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reference<'a> {
    Prompt(Cow<'a, str>),
    Resource(Cow<'a, str>),
    Unreadable,
}

/// What `params.notifications` of `subscriptions/listen` asks to hear of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subscriptions<'a> {
    To {
        resources: Vec<Cow<'a, str>>,
        tasks: Vec<Cow<'a, str>>,
    },
    Unreadable,
}

impl<'a> Params<'a> {
    /// Reads the object that comes next into what is empty so far: so much is better not
    /// moved about.
    pub(super) fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), Fault> {
        let mut fault = None;
        let start = reader.position();
        reader.members(|reader, key| match self.member(reader, key) {
            Ok(()) => Ok(()),
            Err(json @ Fault::Json(_)) => Err(json),
            Err(other) => {
                fault.get_or_insert(other);
                Ok(())
            }
        })?;
        self.raw = reader.raw(&(start..reader.position()));
        fault.map_or(Ok(()), Err)
    }

    /// The value of a member as it is written in the body, if it is one that is kept.
    pub(crate) fn span(&self, param: Param) -> Option<&'a [u8]> {
        self.spans.get(param as usize).copied().flatten()
    }

    /// A member that names what the message acts on.
    pub(crate) fn named(&self, param: Param) -> Option<&Name<'a>> {
        match param {
            Param::Name => self.name.as_ref(),
            Param::Uri => self.uri.as_ref(),
            Param::TaskId => self.task_id.as_ref(),
            _ => None,
        }
    }

    /// Whether `arguments` are absent, `null` or an object.
    pub(crate) fn has_readable_arguments(&self) -> bool {
        matches!(
            self.span(Param::Arguments),
            None | Some(b"null" | [b'{', ..])
        )
    }

    /// The names of the arguments, of the first 64.
    pub(crate) fn argument_keys(&self) -> impl Iterator<Item = &str> {
        self.argument_keys.iter().map(|key| &**key)
    }

    /// Where long values stand in `arguments`, of the first 64: whoever looks for another
    /// one need not read them again.
    pub(crate) fn long_arguments(&self) -> &[Range<usize>] {
        &self.long_arguments
    }

    #[inline(always)]
    fn member(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), Fault> {
        let Some(param) = Param::named(key) else {
            return self.other_member(reader, key);
        };
        match param {
            Param::Name => self.name = Some(Name::read(reader, LONGEST_NAME)?),
            Param::Uri => self.uri = Some(Name::read(reader, LONGEST_URI)?),
            Param::TaskId => self.task_id = Some(Name::read(reader, LONGEST_URI)?),
            Param::Meta => {
                if !reader.is_object() {
                    reader.skip()?;
                    return Err(Fault::MetaNotAnObject);
                }
                self.meta = Meta::read(reader)?;
            }
            Param::Ref => self.reference = Some(Reference::read(reader)?),
            Param::Notifications => {
                self.subscriptions = Some(Subscriptions::read(reader)?.into());
            }
            Param::Cursor => {
                reader.skip()?;
            }
            Param::Arguments | Param::InputResponses | Param::RequestState | Param::Task => {
                let is_object = reader.is_object();
                let start = reader.position();
                if is_object && param == Param::Arguments {
                    self.read_arguments(reader)?;
                } else {
                    reader.skip()?;
                }
                if let Some(span) = self.spans.get_mut(param as usize) {
                    *span = Some(reader.raw(&(start..reader.position())));
                }
            }
        }
        Ok(())
    }

    /// Reads the value of a member that only `initialize` has, or that means nothing.
    #[inline(never)]
    fn other_member(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), Fault> {
        match key {
            "clientInfo" => self.client_info = client_info(reader)?,
            "capabilities" => self.capabilities = Capabilities::read(reader)?,
            _ => {
                reader.skip()?;
                if key::is_look_alike(key) {
                    return Err(Fault::LookAlikeMember);
                }
            }
        }
        Ok(())
    }

    fn read_arguments(&mut self, reader: &mut Reader<'a>) -> Result<(), Fault> {
        let start = reader.position();
        let in_arguments = |at: usize| at.saturating_sub(start);
        reader.named(|reader, key| {
            let is_remembered = self.argument_keys.len() < MOST_ARGUMENT_KEYS;
            if is_remembered {
                self.argument_keys.push(key);
            }
            let value = reader.skip()?;
            if is_remembered && value.len() >= LONG_VALUE {
                let place = in_arguments(value.start)..in_arguments(value.end);
                self.long_arguments.push(place);
            }
            Ok(())
        })
    }
}

impl<'a> Name<'a> {
    fn read(reader: &mut Reader<'a>, longest: usize) -> Result<Self, Fault> {
        if let Some(text) = reader.short_string() {
            return Ok(Self::Text(Cow::Borrowed(text)));
        }
        if reader.kind()? != Kind::String {
            reader.skip()?;
            return Ok(Self::Unreadable);
        }
        let text = reader.string()?;
        Ok(if text.len() > longest {
            Self::Unreadable
        } else {
            Self::Text(reader.decode(text))
        })
    }
}

impl<'a> Meta<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let mut meta = Self::default();
        let mut look_alike = false;
        reader.members(|reader, key| {
            match key {
                "io.modelcontextprotocol/protocolVersion" => {
                    meta.protocol_version = Some(Name::read(reader, LONGEST_NAME)?);
                }
                "io.modelcontextprotocol/clientCapabilities" => {
                    meta.client_capabilities = Some(reader.kind()?);
                    meta.capabilities = Capabilities::read(reader)?;
                }
                "io.modelcontextprotocol/clientInfo" => meta.client_info = client_info(reader)?,
                "traceparent" => meta.trace_parent = Some(Name::read(reader, LONGEST_NAME)?),
                other => {
                    look_alike |= key::is_look_alike_in_meta(other);
                    reader.skip()?;
                }
            }
            Ok::<(), Fault>(())
        })?;
        if look_alike {
            return Err(Fault::LookAlikeMember);
        }
        Ok(meta)
    }
}

/// What a client says of itself, unless it is too much to be looked at.
fn client_info<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Fault> {
    let kind = reader.kind()?;
    let span = reader.skip()?;
    let text = reader.raw(&span);
    Ok((kind == Kind::Object && text.len() <= LONGEST_CLIENT_INFO).then_some(text))
}

impl Capabilities {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let mut capabilities = Self::default();
        each_object_in(reader, |reader, key| {
            match key {
                "extensions" => each_in(reader, |reader, key| {
                    capabilities.tasks |= key == TASKS_EXTENSION;
                    reader.skip()?;
                    Ok(())
                })?,
                "elicitation" => capabilities.elicitation = Elicitation::read(reader)?,
                _ => {
                    reader.skip()?;
                }
            }
            Ok(())
        })?;
        Ok(capabilities)
    }
}

impl Elicitation {
    /// An object that says nothing means the one way that there was at first.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let (mut modes, mut is_empty) = (Self::default(), true);
        each_object_in(reader, |reader, key| {
            is_empty = false;
            match key {
                "form" => modes.form = true,
                "url" => modes.url = true,
                _ => {}
            }
            reader.skip()?;
            Ok(())
        })?;
        modes.form |= is_empty;
        Ok(modes)
    }
}

/// Reads the members of an object that are objects; other values are nothing.
fn each_object_in<'a>(
    reader: &mut Reader<'a>,
    mut member: impl FnMut(&mut Reader<'a>, &str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    each_in(reader, |reader, key| match reader.kind()? {
        Kind::Object => member(reader, key),
        _ => {
            reader.skip()?;
            Ok(())
        }
    })
}

/// Reads the members of an object.
fn each_in<'a>(
    reader: &mut Reader<'a>,
    member: impl FnMut(&mut Reader<'a>, &str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if reader.kind()? != Kind::Object {
        reader.skip()?;
        return Ok(());
    }
    reader.members(member)
}

impl<'a> Reference<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        if reader.kind()? != Kind::Object {
            reader.skip()?;
            return Ok(Self::Unreadable);
        }
        let (mut kind, mut name, mut uri) = (None, None, None);
        let mut look_alike = false;
        reader.members(|reader, key| {
            match key {
                "type" => kind = Some(Name::read(reader, LONGEST_NAME)?),
                "name" => name = Some(Name::read(reader, LONGEST_NAME)?),
                "uri" => uri = Some(Name::read(reader, LONGEST_URI)?),
                other => {
                    look_alike |= key::is_look_alike(other) || key::folds_onto(other, &["type"]);
                    reader.skip()?;
                }
            }
            Ok::<(), Fault>(())
        })?;
        if look_alike {
            return Err(Fault::LookAlikeMember);
        }
        let Some(Name::Text(kind)) = kind else {
            return Ok(Self::Unreadable);
        };
        // A reference that names both could be read as either.
        Ok(match (&*kind, name, uri) {
            ("ref/prompt", Some(Name::Text(name)), None) => Self::Prompt(name),
            ("ref/resource", None, Some(Name::Text(uri))) => Self::Resource(uri),
            _ => Self::Unreadable,
        })
    }
}

impl<'a> Subscriptions<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        if reader.kind()? != Kind::Object {
            reader.skip()?;
            return Ok(Self::Unreadable);
        }
        let mut resources = Some(Vec::new());
        let mut tasks = Some(Vec::new());
        let mut look_alike = false;
        reader.members(|reader, key| {
            match key {
                "resourceSubscriptions" => resources = read_names(reader)?,
                "taskIds" => tasks = read_names(reader)?,
                other => {
                    look_alike |= key::is_look_alike(other)
                        || key::folds_onto(other, &["resourceSubscriptions", "taskIds"]);
                    reader.skip()?;
                }
            }
            Ok::<(), Fault>(())
        })?;
        if look_alike {
            return Err(Fault::LookAlikeMember);
        }
        Ok(match (resources, tasks) {
            (Some(resources), Some(tasks)) => Self::To { resources, tasks },
            _ => Self::Unreadable,
        })
    }
}

/// A list of names; `None` if it is not one, or too long.
fn read_names<'a>(reader: &mut Reader<'a>) -> Result<Option<Vec<Cow<'a, str>>>, Fault> {
    if reader.kind()? != Kind::Array {
        reader.skip()?;
        return Ok(None);
    }
    let mut names = Some(Vec::new());
    reader.array(|reader| {
        match (Name::read(reader, LONGEST_URI)?, &mut names) {
            (Name::Text(name), Some(names)) if names.len() < MOST_SUBSCRIPTIONS => {
                names.push(name);
            }
            _ => names = None,
        }
        Ok::<(), Fault>(())
    })?;
    Ok(names)
}
