//! A call as people write it: `{"name": "…", "arguments": {…}}`.

use mcp_policy::Action;
use serde_json::value::RawValue;

use super::members::{Members, kind};
use super::show::shown;

/// What is called, and with what. The arguments are as they were written,
/// because a policy judges texts.
#[derive(Clone)]
pub(super) struct Call<'a> {
    pub(super) target: Target,
    pub(super) name: String,
    arguments: Option<&'a str>,
}

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Tool,
    Prompt,
    Resource,
    Method,
}

impl Target {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::Method => "method",
        }
    }

    /// Doing the usual with what has this name.
    pub(super) fn action(self, name: &str) -> Action<'_> {
        match self {
            Self::Tool => Action::call_tool(name),
            Self::Prompt => Action::get_prompt(name),
            Self::Resource => Action::read_resource(name),
            Self::Method => Action::other_method(name),
        }
    }

    /// The member by which a call names it.
    const MEMBERS: [(&'static str, Self); 4] = [
        ("name", Self::Tool),
        ("prompt", Self::Prompt),
        ("uri", Self::Resource),
        ("method", Self::Method),
    ];

    fn takes_arguments(self) -> bool {
        matches!(self, Self::Tool | Self::Prompt)
    }
}

impl<'a> Call<'a> {
    /// Reads a call; what its arguments hold is in no error.
    pub(super) fn read(raw: &'a RawValue) -> Result<Self, String> {
        let members = Members::read(raw, &["name", "prompt", "uri", "method", "arguments"])?;
        let mut found = None;
        for (member, target) in Target::MEMBERS {
            let Some(name) = members.text(member)? else {
                continue;
            };
            if let Some((other, _, _)) = found.replace((member, target, name)) {
                return Err(format!(
                    "`{other}` and `{member}` cannot both be there: one thing is called"
                ));
            }
        }
        let Some((member, target, name)) = found else {
            return Err(
                "there is no `name` of a tool, nor a `prompt`, a `uri` or a `method`".to_owned(),
            );
        };
        let arguments = match members.get("arguments") {
            None => None,
            Some(_) if !target.takes_arguments() => {
                return Err(format!("`arguments` cannot stand beside `{member}`"));
            }
            // As on the wire.
            Some(raw) if kind(raw) == "null" => None,
            Some(_) => members.object("arguments")?,
        };
        let call = Self {
            target,
            name,
            arguments,
        };
        call.action()?;
        Ok(call)
    }

    pub(super) fn action(&self) -> Result<Action<'_>, String> {
        let action = self.target.action(&self.name);
        match self.arguments {
            Some(arguments) => action.with_arguments(arguments).map_err(|error| {
                format!("`arguments`: {error}; a gateway refuses such a call unjudged")
            }),
            None => Ok(action),
        }
    }

    /// What is called, for people.
    pub(super) fn label(&self) -> String {
        format!("{} `{}`", self.target.noun(), shown(&self.name))
    }
}
