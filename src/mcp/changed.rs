//! Lists that change: who said that it would tell, who wants to hear it, and in
//! which words it is said.
//!
//! Nothing here decides what passes, so what is not understood just says
//! nothing.

use serde::Deserialize;

/// Kinds of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lists {
    pub(crate) tools: bool,
    pub(crate) prompts: bool,
    pub(crate) resources: bool,
}

impl Lists {
    pub(crate) const ALL: Self = Self {
        tools: true,
        prompts: true,
        resources: true,
    };

    /// Those that are in both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            tools: self.tools && other.tools,
            prompts: self.prompts && other.prompts,
            resources: self.resources && other.resources,
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The notifications that they have changed: in the legacy era, or for the
    /// subscription with this id, as it was written.
    pub(crate) fn notifications(self, subscription: Option<&[u8]>) -> Vec<Vec<u8>> {
        let kinds = [
            (self.tools, "tools"),
            (self.prompts, "prompts"),
            (self.resources, "resources"),
        ];
        let changed = kinds.into_iter().filter(|(changed, _)| *changed);
        changed
            .map(|(_, kind)| {
                let mut text = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/".to_vec();
                text.extend_from_slice(kind.as_bytes());
                text.extend_from_slice(b"/list_changed\"");
                if let Some(id) = subscription {
                    text.extend_from_slice(b",\"params\":{\"_meta\":{\"");
                    text.extend_from_slice(SUBSCRIPTION_ID.as_bytes());
                    text.extend_from_slice(b"\":");
                    text.extend_from_slice(id);
                    text.extend_from_slice(b"}}");
                }
                text.push(b'}');
                text
            })
            .collect()
    }
}

const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// Of which lists an answer to `initialize` or `server/discover` declares that
/// their changes will be told; `None` if it declares nothing at all.
pub(crate) fn declared(answer: &[u8]) -> Option<Lists> {
    #[derive(Deserialize)]
    struct Answer {
        result: Description,
    }
    #[derive(Deserialize)]
    struct Description {
        capabilities: Capabilities,
    }
    #[derive(Deserialize)]
    struct Capabilities {
        tools: Option<Capability>,
        prompts: Option<Capability>,
        resources: Option<Capability>,
    }
    #[derive(Deserialize)]
    struct Capability {
        #[serde(default, rename = "listChanged")]
        list_changed: bool,
    }
    let tells = |capability: Option<Capability>| capability.is_some_and(|it| it.list_changed);
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let Capabilities {
        tools,
        prompts,
        resources,
    } = answer.result.capabilities;
    Some(Lists {
        tools: tells(tools),
        prompts: tells(prompts),
        resources: tells(resources),
    })
}

/// What `subscriptions/listen` asks for, and its acknowledgement agrees to.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Filter {
    tools_list_changed: bool,
    prompts_list_changed: bool,
    resources_list_changed: bool,
}

impl From<Filter> for Lists {
    fn from(filter: Filter) -> Self {
        Self {
            tools: filter.tools_list_changed,
            prompts: filter.prompts_list_changed,
            resources: filter.resources_list_changed,
        }
    }
}

/// Of which lists a `subscriptions/listen` asks to hear.
pub(crate) fn requested(request: &[u8]) -> Lists {
    #[derive(Deserialize)]
    struct Request {
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        notifications: Filter,
    }
    let request = serde_json::from_slice(request);
    request.map_or_else(
        |_| Lists::default(),
        |request: Request| request.params.notifications.into(),
    )
}

/// What a server agreed to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// `None` if it does not say.
    pub(crate) lists: Option<Lists>,
    /// The id of the subscription, as it is written there.
    pub(crate) subscription: Option<Box<[u8]>>,
}

/// The acknowledgement of a subscription, if the message is one.
pub(crate) fn acknowledged(message: &[u8]) -> Option<Acknowledged> {
    #[derive(Deserialize)]
    struct Message {
        method: String,
        #[serde(default)]
        params: Params,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Params {
        notifications: Option<Filter>,
        #[serde(rename = "_meta")]
        meta: Meta,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Meta {
        #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
        subscription: Option<serde_json::Value>,
    }
    let message: Message = serde_json::from_slice(message).ok()?;
    let subscription = message.params.meta.subscription;
    (message.method == ACKNOWLEDGED).then(|| Acknowledged {
        lists: message.params.notifications.map(Lists::from),
        subscription: subscription.map(|id| id.to_string().into_bytes().into()),
    })
}

/// The id, as it is written there, of the request that a client gives up.
pub(crate) fn cancelled(message: &[u8]) -> Option<Box<[u8]>> {
    #[derive(Deserialize)]
    struct Message {
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        #[serde(rename = "requestId")]
        request: serde_json::Value,
    }
    let message: Message = serde_json::from_slice(message).ok()?;
    Some(message.params.request.to_string().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: Lists = Lists {
        tools: true,
        prompts: false,
        resources: false,
    };

    #[test]
    fn what_a_server_declares() {
        for (capabilities, lists) in [
            (
                r#"{"tools":{"listChanged":true},"prompts":{}}"#,
                Some(TOOLS),
            ),
            (r#"{"tools":{"listChanged":false}}"#, Some(Lists::default())),
            (r#"{"logging":{}}"#, Some(Lists::default())),
            (r#"{"tools":{"listChanged":"true"}}"#, None),
            ("[]", None),
        ] {
            let answer = format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{{"capabilities":{capabilities},"x":1}}}}"#
            );
            assert_eq!(declared(answer.as_bytes()), lists, "{answer}");
        }
        assert_eq!(declared(b"{}"), None);
    }

    #[test]
    fn what_a_client_asks_for_and_a_server_agrees_to() {
        let listen =
            br#"{"id":1,"params":{"notifications":{"toolsListChanged":true,"taskIds":[]}}}"#;
        assert_eq!(requested(listen), TOOLS);
        assert_eq!(requested(b"{}"), Lists::default());
        let message = br#"{"method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"a"},"notifications":{"toolsListChanged":true}}}"#;
        let expected = Acknowledged {
            lists: Some(TOOLS),
            subscription: Some((*b"\"a\"").into()),
        };
        assert_eq!(acknowledged(message), Some(expected));
        let bare = br#"{"method":"notifications/subscriptions/acknowledged"}"#;
        assert_eq!(acknowledged(bare).unwrap().lists, None);
        assert_eq!(acknowledged(br#"{"method":"ping","params":{}}"#), None);
    }

    #[test]
    fn the_words() {
        let plain = br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        assert_eq!(TOOLS.notifications(None), [plain.to_vec()]);
        let subscribed = br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"a"}}}"#;
        assert_eq!(TOOLS.notifications(Some(b"\"a\"")), [subscribed.to_vec()]);
        assert_eq!(Lists::ALL.notifications(None).len(), 3);
    }
}
