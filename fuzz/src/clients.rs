//! What clients read of an answer that was shown to them.

use mcp_policy::fuzzing::Filter;

use crate::readers;
use crate::tree::{Tree, is_same};

/// The member that holds a list, and the member of an entry that names it.
pub const LISTS: [(&str, &str); 5] = [
    ("tools", "name"),
    ("prompts", "name"),
    ("resources", "uri"),
    ("resourceTemplates", "uriTemplate"),
    ("tasks", "taskId"),
];

/// No reader finds a name in a list of the answer that is hidden, whichever of
/// several members it takes.
pub fn assert_nothing_hidden(filter: &Filter, answer: &[u8]) {
    for (reader, tree) in readers::read(answer) {
        if let Some((list, name)) = hidden(filter, &tree) {
            let answer = String::from_utf8_lossy(answer);
            panic!("{reader} reads {name:?} among the {list} of {answer}");
        }
    }
}

fn hidden<'t>(filter: &Filter, answer: &'t Tree) -> Option<(&'static str, &'t str)> {
    let messages = match answer {
        Tree::Array(messages) => messages,
        message => std::slice::from_ref(message),
    };
    messages.iter().flat_map(Tree::members).find_map(|member| {
        let (key, value) = member;
        if is_same(key, "params") {
            let mut params = value.members().iter();
            return params.find_map(|member| in_result(filter, member, 3));
        }
        in_result(filter, member, 3)
    })
}

fn in_result<'t>(
    filter: &Filter,
    (key, result): &'t (String, Tree),
    nested: u32,
) -> Option<(&'static str, &'t str)> {
    if nested == 0 || !is_same(key, "result") {
        return None;
    }
    result.members().iter().find_map(|member| {
        let list = LISTS.iter().find(|(list, _)| is_same(&member.0, list));
        match list {
            Some((list, naming)) if filter.may_hide(list) == Some(true) => member
                .1
                .items()
                .iter()
                .flat_map(Tree::members)
                .filter(|(key, _)| is_same(key, naming))
                .filter_map(|(_, name)| name.text())
                .find(|name| !filter.shows(list, name))
                .map(|name| (*list, name)),
            _ => in_result(filter, member, nested - 1),
        }
    })
}
