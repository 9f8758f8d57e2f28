//! What can be called.

use mcp_policy::Action;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Tool,
    Prompt,
    Resource,
    Method,
}

impl Target {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::Method => "method",
        }
    }

    /// Doing the usual with what has this name.
    pub(crate) fn action(self, name: &str) -> Action<'_> {
        match self {
            Self::Tool => Action::call_tool(name),
            Self::Prompt => Action::get_prompt(name),
            Self::Resource => Action::read_resource(name),
            Self::Method => Action::other_method(name),
        }
    }

    /// The member by which a call names it.
    pub(crate) const MEMBERS: [(&'static str, Self); 4] = [
        ("name", Self::Tool),
        ("prompt", Self::Prompt),
        ("uri", Self::Resource),
        ("method", Self::Method),
    ];

    pub(crate) fn takes_arguments(self) -> bool {
        matches!(self, Self::Tool | Self::Prompt)
    }
}
