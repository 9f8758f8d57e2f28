//! The method table: which messages exist and what each of them names.
//!
//! One row per method of every protocol version from 2024-11-05 to 2026-07-28.
//! A method that has no row is unknown, and an unknown method is never let
//! through because it looks harmless.

use super::version::Era;

/// Whether a method is a request (it has an `id` and gets an answer) or a
/// notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Notification,
}

/// What a message of some method acts on, and so what it is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Nothing runs by it: it always passes.
    Nothing,
    /// Nothing runs by it, and no session needs it: it passes for whoever may do
    /// anything.
    Setting,
    /// The tool in `params.name`.
    Tool,
    /// The prompt in `params.name`.
    Prompt,
    /// The resource in `params.uri`.
    Resource,
    /// The prompt or resource in `params.ref`.
    Reference,
    /// Every URI and task id in `params.notifications`.
    Subscriptions,
    /// The task in `params.taskId`.
    Task,
    /// All tasks of the server, of which the answer shows the caller's own.
    AllTasks,
}

/// One row of the method table.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) subject: Subject,
    /// The last era that has it.
    pub(crate) last: Era,
}

const fn request(name: &'static str, subject: Subject) -> Method {
    Method {
        name,
        kind: Kind::Request,
        subject,
        last: Era::Modern,
    }
}

/// A request that 2026-07-28 has done away with.
const fn legacy(name: &'static str, subject: Subject) -> Method {
    Method {
        last: Era::Legacy,
        ..request(name, subject)
    }
}

const fn notification(name: &'static str) -> Method {
    Method {
        name,
        kind: Kind::Notification,
        subject: Subject::Nothing,
        last: Era::Modern,
    }
}

/// Every method that is judged by what it acts on, or always passes.
pub(crate) const METHODS: &[Method] = &[
    legacy("initialize", Subject::Nothing),
    legacy("ping", Subject::Nothing),
    request("server/discover", Subject::Nothing),
    legacy("logging/setLevel", Subject::Setting),
    request("tools/list", Subject::Nothing),
    request("tools/call", Subject::Tool),
    request("prompts/list", Subject::Nothing),
    request("prompts/get", Subject::Prompt),
    request("resources/list", Subject::Nothing),
    request("resources/templates/list", Subject::Nothing),
    request("resources/read", Subject::Resource),
    legacy("resources/subscribe", Subject::Resource),
    legacy("resources/unsubscribe", Subject::Setting),
    request("completion/complete", Subject::Reference),
    request("subscriptions/listen", Subject::Subscriptions),
    request("tasks/get", Subject::Task),
    legacy("tasks/result", Subject::Task),
    request("tasks/update", Subject::Task),
    request("tasks/cancel", Subject::Task),
    legacy("tasks/list", Subject::AllTasks),
    notification("notifications/initialized"),
    notification("notifications/cancelled"),
    notification("notifications/progress"),
    notification("notifications/roots/list_changed"),
];

/// The row of a method, compared byte by byte.
pub(crate) fn lookup(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

/// The known method that is spelt with the same letters in the same order. Some
/// server might ignore the rest: case, white space, control characters, and
/// slashes that are doubled, missing, leading or trailing.
pub(crate) fn resembles(name: &str) -> Option<&'static Method> {
    let folded = fold(name);
    METHODS.iter().find(|method| fold(method.name) == folded)
}

fn fold(name: &str) -> String {
    let mut folded = name.to_lowercase().replace("%2f", "/");
    folded.retain(char::is_alphanumeric);
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_is_exact() {
        assert_eq!(lookup("tools/call").map(|m| m.subject), Some(Subject::Tool));
        for odd in [
            "Tools/Call",
            "tools/call/",
            "tools/call ",
            "tools/call\0",
            "",
        ] {
            assert!(lookup(odd).is_none(), "{odd:?}");
        }
    }

    #[test]
    fn look_alikes_are_recognised() {
        for odd in [
            "Tools/Call",
            "tools/call//",
            " tools/\tcall",
            "tools/call\0",
        ] {
            assert_eq!(
                resembles(odd).map(|m| m.name),
                Some("tools/call"),
                "{odd:?}"
            );
        }
        assert!(resembles("tools/calls").is_none());
        assert!(resembles("skills/list").is_none());
    }

    #[test]
    fn no_two_rows_resemble_each_other() {
        for (index, method) in METHODS.iter().enumerate() {
            let first = METHODS
                .iter()
                .position(|m| fold(m.name) == fold(method.name));
            assert_eq!(first, Some(index), "{}", method.name);
        }
    }
}
