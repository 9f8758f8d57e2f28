//! A call as people write it: `{"name": "…", "arguments": {…}}`.

use std::net::{IpAddr, Ipv6Addr};

use mcp_policy::{Action, Caller};
use serde_json::value::RawValue;

use crate::{
    called::Target,
    members::{Members, kind},
    names::shown,
};

/// What is called, and with what. The arguments are as they were written,
/// because a policy judges texts.
#[derive(Clone)]
pub(super) struct Call<'a> {
    pub(super) target: Target,
    pub(super) name: String,
    arguments: Option<&'a str>,
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

/// The caller of this id, as records have it: an address and `(local)` stand for
/// callers of whom nothing else is known, not for somebody of that name.
pub(super) fn caller_of(id: &str) -> Caller {
    let network = id
        .strip_suffix("/64")
        .and_then(|net| net.parse::<Ipv6Addr>().ok());
    match (id, id.parse::<IpAddr>(), network) {
        ("(anonymous)", ..) => Caller::anonymous(),
        ("(local)", ..) => Caller::local(),
        (_, Ok(address), _) => Caller::from(address),
        (_, _, Some(network)) => Caller::from(IpAddr::V6(network)),
        _ => Caller::new(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_those_that_the_gateway_would_see() {
        for id in [
            "(anonymous)",
            "(local)",
            "192.0.2.7",
            "2001:db8:1:2::/64",
            "alice",
        ] {
            assert_eq!(caller_of(id).id(), id);
        }
        assert_eq!(caller_of("2001:db8:1:2::9").id(), "2001:db8:1:2::/64");
    }
}
