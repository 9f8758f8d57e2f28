//! What was chosen with buttons and fields, written into the text.

use mcp_policy::Policy;
use serde_json::Value;

use super::{
    super::form::Form,
    LONGEST_TEXT, Subject,
    draft::Draft,
    edit::{self, Node, Stuck, quoted, steps},
    field::{self, Field},
    key_of,
    rule::{MODES, Opened},
    schema,
    value::meant,
};

/// What a limit begins with that was just added.
const FIRST_MAX: &str = "100";

/// Writes into the text what was changed in the fields, and what the button says.
pub(super) fn apply(
    draft: &mut Draft,
    form: &Form,
    pressed: &[&str],
    subject: &Subject,
) -> Result<(), Stuck> {
    // What the fields show is not what a text says that was changed by hand: it is right.
    if form.get("seen") == Policy::digest_of(&draft.text) {
        draft.put(&filled_in(draft, form, subject)?);
    }
    let text = match pressed {
        ["rule", verdict, at] => judged(&draft.text, at, verdict)?,
        ["unhide", name] => shown_again(&draft.text, name)?,
        ["remove", at] => without(&draft.text, at)?,
        ["condition", index, path @ ..] => {
            with_condition(draft, form, index, path.first().copied(), subject)?
        }
        ["limit", from @ ..] => with_limit(draft, from.first().copied())?,
        ["add"] => with_entry(draft, form.get("name").trim())?,
        ["format"] => edit::laid_out(&draft.text)?,
        other => {
            look(draft, other);
            return Ok(());
        }
    };
    if text.len() > LONGEST_TEXT {
        return Err(Stuck("the text would be longer than 1 MiB"));
    }
    draft.put(&text);
    Ok(())
}

/// Lets something else of it be shown.
fn look(draft: &mut Draft, pressed: &[&str]) {
    match pressed {
        ["open", at] => draft.at = Some((*at).to_owned()),
        ["close"] => draft.at = None,
        ["part", part] => draft.part = part.parse().unwrap_or_default(),
        ["filter"] => draft.part = 0,
        _ => {}
    }
}

/// The fields of the whole policy.
pub(super) fn settings(root: Node<'_>) -> Vec<Field> {
    let defaults = [("deny", "denied"), ("hide", "hidden"), ("allow", "allowed")];
    let instructions = [("pass", "passed on"), ("strip", "taken out")];
    vec![
        Field::choice(root, &["default"], "What nothing names is", &defaults),
        Field::choice(root, &["mode"], "The policy is", &MODES),
        Field::choice(
            root,
            &["instructions"],
            "Instructions of the server are",
            &instructions,
        ),
        Field::text(root, &["name"], "Name in records"),
    ]
}

/// The tool that an entry names.
pub(super) fn tool_at<'s>(subject: &'s Subject, at: &str) -> Option<&'s Value> {
    let steps = steps(at)?;
    let [section, key] = steps.as_slice() else {
        return None;
    };
    let all = subject.offered.iter().filter(|_| section == "tools");
    let mut all = all.flat_map(|(_, offered)| {
        let tools = &offered.tools;
        tools.definitions.iter().zip(&tools.values)
    });
    let found = all.find(|(tool, _)| key_of(tool.name()) == *key);
    found.map(|(_, value)| value)
}

fn filled_in(draft: &Draft, form: &Form, subject: &Subject) -> Result<String, Stuck> {
    let Some(root) = Node::of(&draft.text) else {
        return Ok(draft.text.clone());
    };
    let text = field::written(&draft.text, settings(root).iter(), form)?;
    let opened = draft.at.as_deref();
    let opened = opened.and_then(|at| Opened::of(root, at, tool_at(subject, at)));
    match opened {
        Some(opened) => field::written(&text, opened.fields(), form),
        None => Ok(text),
    }
}

/// The text in which a rule says so.
fn judged(text: &str, at: &str, verdict: &str) -> Result<String, Stuck> {
    let place = steps(at).unwrap_or_default();
    let place: Vec<&str> = place.iter().map(String::as_str).collect();
    let root = Node::of(text).ok_or(edit::NOT_JSON)?;
    let found = root.at(&place);
    let kept: &[&str] = match verdict {
        "default" => {
            return match found {
                Some(_) => without(text, at),
                None => Ok(text.to_owned()),
            };
        }
        "allow" => &["description"],
        "deny" => &["description", "mode", "reason"],
        "hide" => &["description", "mode"],
        _ => return Err(Stuck("there is no such verdict")),
    };
    let mut text = text.to_owned();
    match found.map(|rule| rule.members()) {
        Some(Some(members)) => {
            for (name, _) in &members {
                let is_kept = kept.contains(&name.as_str());
                let is_action = name == "action" && verdict != "allow";
                if !is_kept && !is_action {
                    text = edit::remove(&text, &[&*place, &[name]].concat())?;
                }
            }
        }
        Some(None) => text = edit::set(&text, &place, "{}")?,
        None if verdict == "allow" => text = edit::set(&text, &place, "{}")?,
        None => {}
    }
    match verdict {
        "allow" => Ok(text),
        _ => edit::set(&text, &[&*place, &["action"]].concat(), &quoted(verdict)),
    }
}

/// The text in which a name is not among those that are hidden.
fn shown_again(text: &str, name: &str) -> Result<String, Stuck> {
    let hidden = Node::of(text).and_then(|root| root.member("hide"));
    let hidden = hidden.map(Node::elements).unwrap_or_default();
    let mut hidden = hidden.iter();
    match hidden.position(|own| own.string().as_deref() == Some(name)) {
        Some(index) => without(text, &format!("/hide/{index}")),
        None => Ok(text.to_owned()),
    }
}

/// Begins an entry for a name or a pattern.
fn with_entry(draft: &mut Draft, name: &str) -> Result<String, Stuck> {
    if name.is_empty() {
        return Err(Stuck(
            "type the name of a tool, or a pattern such as `read_*`",
        ));
    }
    let root = Node::of(&draft.text).ok_or(edit::NOT_JSON)?;
    let text = match root.at(&["tools", name]) {
        Some(_) => draft.text.clone(),
        None => {
            let deny = edit::object(&[("action", quoted("deny"))]);
            edit::set(&draft.text, &["tools", name], &deny)?
        }
    };
    draft.at = Some(format!("/tools/{}", edit::step(name)));
    Ok(text)
}

/// The text without what is at a place, and without what says nothing any more then.
fn without(text: &str, at: &str) -> Result<String, Stuck> {
    let place = steps(at).unwrap_or_default();
    let mut place: Vec<&str> = place.iter().map(String::as_str).collect();
    loop {
        let above = place
            .split_last()
            .map(|(_, above)| above)
            .unwrap_or_default();
        let holds = Node::of(text).and_then(|root| root.at(above));
        let is_last = holds.is_some_and(|node| {
            let members = node.members().map_or(0, |all| all.len());
            members.max(node.elements().len()) == 1
        });
        // A check without conditions would say something: that it always holds.
        let above: usize = match above {
            _ if !is_last => 0,
            [.., "require" | "deny_if", _, "conditions"] => 2,
            [.., "conditions" | "require" | "deny_if" | "limits"] => 1,
            ["tools" | "resources" | "prompts" | "risk" | "hide"] => 1,
            _ => 0,
        };
        if above == 0 {
            return edit::remove(text, &place);
        }
        place.truncate(place.len().saturating_sub(above));
    }
}

fn with_condition(
    draft: &Draft,
    form: &Form,
    index: &str,
    path: Option<&str>,
    subject: &Subject,
) -> Result<String, Stuck> {
    let at = draft.at.as_deref().ok_or(NOTHING_OPEN)?;
    let rule = steps(at).unwrap_or_default();
    let rule: Vec<&str> = rule.iter().map(String::as_str).collect();
    let new = |part: &str| form.get(&format!("new/{index}/{part}"));
    let typed = new("path");
    let path = path.unwrap_or(typed.trim());
    if path.is_empty() {
        return Err(Stuck("type which argument is meant, such as `args.amount`"));
    }
    let properties = tool_at(subject, at).map(schema::properties);
    let properties = properties.unwrap_or_default();
    let kind = properties.iter().find(|one| one.path == path);
    let operator = new("op");
    let name = format!("new/{index}/pick");
    let picked: Vec<_> = form
        .all(&name)
        .filter(|one| Node::of(one).is_some())
        .collect();
    let value = match (&*operator, picked.as_slice()) {
        ("in" | "not_in", [_, ..]) => format!("[{}]", picked.join(", ")),
        ("eq" | "neq", [first, ..]) => first.to_string(),
        _ => meant(
            &operator,
            kind.map_or("", |one| one.kind),
            None,
            &new("value"),
        ),
    };
    let condition = edit::object(&[
        ("path", quoted(path)),
        ("op", quoted(&operator)),
        ("value", value),
    ]);
    let effect = new("effect");
    let text = &draft.text;
    if effect == "asks" {
        let approval = [&*rule, &["require_approval"]].concat();
        let list = [&*approval, &["conditions"]].concat();
        let found = Node::of(text).and_then(|root| root.at(&approval));
        let text = match found.map(Node::text) {
            Some("true") => edit::set(text, &approval, "{}")?,
            _ => text.clone(),
        };
        return push(&text, &list, &condition);
    }
    let section = match &*effect {
        "deny_if" => "deny_if",
        _ => "require",
    };
    let check = edit::object(&[("conditions", format!("[{condition}]"))]);
    push(text, &[&*rule, &[section]].concat(), &check)
}

const NOTHING_OPEN: Stuck = Stuck("open the rule first");

/// The text with a further element of a list.
fn push(text: &str, list: &[&str], value: &str) -> Result<String, Stuck> {
    let found = Node::of(text).and_then(|root| root.at(list));
    match found {
        Some(node) => {
            let index = node.elements().len().to_string();
            edit::set(text, &[list, &[&*index]].concat(), value)
        }
        None => edit::set(text, list, &format!("[{value}]")),
    }
}

fn with_limit(draft: &Draft, from: Option<&str>) -> Result<String, Stuck> {
    let at = draft.at.as_deref().ok_or(NOTHING_OPEN)?;
    let rule = steps(at).unwrap_or_default();
    let rule: Vec<&str> = rule.iter().map(String::as_str).collect();
    let list = [&*rule, &["limits"]].concat();
    let all = Node::of(&draft.text).and_then(|root| root.at(&list));
    let all = all.map(Node::elements).unwrap_or_default();
    let named: Vec<_> = all
        .iter()
        .filter_map(|limit| limit.member("counter")?.string())
        .collect();
    let word = from.map(|path| path.rsplit('.').next().unwrap_or_default());
    let is_plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let word = word.filter(is_plain).unwrap_or("calls");
    // One of so many is free.
    let numbered = (2..=named.len().saturating_add(2)).map(|number| format!("{word}_{number}"));
    let mut names = std::iter::once(word.to_owned()).chain(numbered);
    let counter = names.find(|name| !named.contains(name)).unwrap_or_default();
    let mut members = vec![
        ("counter", quoted(&counter)),
        ("window", quoted("day")),
        ("max", FIRST_MAX.to_owned()),
    ];
    if let Some(path) = from {
        members.push(("increment_from", quoted(path)));
    }
    push(&draft.text, &list, &edit::object(&members))
}
