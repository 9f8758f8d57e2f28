//! What a server answers, as far as it has to be read.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{List, Wrong, broken};

/// A message of a server, which can be an answer.
#[derive(Deserialize)]
pub(super) struct Answer {
    id: Option<Value>,
    result: Option<Box<RawValue>>,
    pub(super) error: Option<Value>,
}

impl Answer {
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        serde_json::from_slice(message).ok()
    }

    /// Whether it answers the request with this id. Some servers keep every id as
    /// text.
    pub(super) fn answers(&self, id: u64) -> bool {
        let is_answer = self.result.is_some() || self.error.is_some();
        let own = self.id.as_ref();
        let same = own.and_then(Value::as_u64) == Some(id)
            || own.and_then(Value::as_str) == Some(&id.to_string());
        is_answer && same
    }

    pub(super) fn result(self) -> Result<Box<RawValue>, Wrong> {
        if let Some(error) = self.error {
            let text = error.get("message").and_then(Value::as_str);
            return Err(Wrong::Refused {
                code: error.get("code").and_then(Value::as_i64),
                text: text.map(str::to_owned),
            });
        }
        self.result
            .ok_or_else(|| broken("its answer has no result"))
    }
}

/// What a server says of itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hello {
    protocol_version: Option<Value>,
    capabilities: Option<Value>,
    pub(super) instructions: Option<Box<RawValue>>,
}

impl Hello {
    pub(super) fn read(result: &RawValue) -> Result<Self, Wrong> {
        let hello: Result<Self, _> = serde_json::from_str(result.get());
        let mut hello =
            hello.map_err(|_| broken("what it says of itself first cannot be understood"))?;
        // Anything else is nothing that a client would show to a model.
        let is_text = |text: &RawValue| text.get().starts_with('"');
        hello.instructions = hello.instructions.filter(|text| is_text(text));
        Ok(hello)
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.protocol_version.as_ref()?.as_str()
    }

    /// Whether it has something; `None` if it has not said so of anything.
    pub(super) fn offers(&self, capability: &str) -> Option<bool> {
        let capabilities = self.capabilities.as_ref()?.as_object()?;
        Some(capabilities.contains_key(capability))
    }
}

/// A page of a list.
pub(super) struct Page {
    pub(super) entries: Vec<Box<RawValue>>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    tools: Option<Vec<Box<RawValue>>>,
    prompts: Option<Vec<Box<RawValue>>>,
    resources: Option<Vec<Box<RawValue>>>,
    resource_templates: Option<Vec<Box<RawValue>>>,
    next_cursor: Option<Value>,
}

impl Page {
    pub(super) fn read(result: &RawValue, list: List) -> Result<Self, Wrong> {
        let members: Option<Members> = serde_json::from_str(result.get()).ok();
        let page = members.and_then(|members| {
            let entries = match list {
                List::Tools => members.tools,
                List::Prompts => members.prompts,
                List::Resources => members.resources,
                List::ResourceTemplates => members.resource_templates,
            };
            let next = members.next_cursor;
            Some(Self {
                entries: entries?,
                next: next.and_then(|next| next.as_str().map(str::to_owned)),
            })
        });
        page.ok_or_else(|| {
            let (method, member) = (list.method(), list.member());
            broken(format!(
                "what it answers to `{method}` has no list `{member}`"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn a_tool_is_kept_as_it_was_said() {
        let tool = r#"{"name":"a","b":18446744073709551616.0,"c":1,"c":2}"#;
        let page = Page::read(&raw(&format!(r#"{{"tools":[{tool}]}}"#)), List::Tools);
        let entries = page.map(|page| page.entries).ok().unwrap_or_default();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].get(), tool);
    }

    #[test]
    fn a_list_that_could_be_two_is_none() {
        for text in [r#"{"tools":[],"tools":[]}"#, r#"{"tools":{}}"#, "{}", "[]"] {
            assert!(Page::read(&raw(text), List::Tools).is_err(), "{text}");
        }
        let prompts = raw(r#"{"prompts":[{}],"nextCursor":null}"#);
        assert!(Page::read(&prompts, List::Prompts).is_ok());
        assert!(Page::read(&prompts, List::Tools).is_err());
    }

    #[test]
    fn what_a_server_says_of_itself() {
        let text = r#"{"capabilities":{"tools":{}},"instructions":"a","protocolVersion":"1"}"#;
        let hello = Hello::read(&raw(text)).ok().unwrap();
        assert_eq!(hello.offers("tools"), Some(true));
        assert_eq!(hello.offers("prompts"), Some(false));
        assert_eq!(hello.version(), Some("1"));
        assert_eq!(hello.instructions.unwrap().get(), "\"a\"");
        let hello = Hello::read(&raw(r#"{"instructions":[1]}"#)).ok().unwrap();
        assert!(hello.instructions.is_none());
        assert_eq!(hello.offers("tools"), None);
    }

    #[test]
    fn an_answer_is_told_from_other_messages() {
        let answers = |text: &str| Answer::read(text.as_bytes()).is_some_and(|it| it.answers(1));
        for text in [
            r#"{"id":1,"result":{}}"#,
            r#"{"id":"1","result":{}}"#,
            r#"{"id":1,"error":{}}"#,
        ] {
            assert!(answers(text), "{text}");
        }
        for text in [
            r#"{"id":2,"result":{}}"#,
            r#"{"id":1,"method":"ping"}"#,
            r#"{"result":{}}"#,
            "1",
            "{",
        ] {
            assert!(!answers(text), "{text}");
        }
    }
}
