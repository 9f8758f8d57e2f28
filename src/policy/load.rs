//! From text to document: everything that can be wrong with its shape.
//!
//! What the well-shaped document means, and whether that makes sense, is the
//! business of [`compile`](super::compile).

use std::collections::{BTreeMap, HashSet};

use super::diagnostic::{Problem, Problems, join, printable, quote};
use super::document::{DefaultAction, MethodRule, PolicyDocument, Rule, RuleAction, Version};
use crate::json::tree::{Member, Node, Value};

/// The longest text that is read.
pub(super) const MAX_BYTES: usize = 10 << 20;

/// The most entries that the sections of a document may have together.
pub(super) const MAX_ENTRIES: usize = 100_000;

/// Reads a document from its tree. It is only good if no problem was reported;
/// if one was, it still holds every entry, so that their names can be checked.
pub(super) fn read(root: &Node, problems: &mut Problems) -> PolicyDocument {
    let mut document = PolicyDocument::new(DefaultAction::Deny);
    if too_many_entries(root, problems) {
        return document;
    }
    report_duplicates(root, &Path::Document, problems);
    Reader { problems }.document(root, &mut document);
    document
}

/// The fields of one kind of object.
struct Fields {
    known: &'static [&'static str],
    /// Those of the language that this build does not enforce yet.
    later: &'static [&'static str],
}

const DOCUMENT: Fields = Fields {
    known: &[
        "$schema",
        "version",
        "name",
        "description",
        "default",
        "hide",
        "tools",
        "resources",
        "prompts",
        "methods",
    ],
    later: &["mode", "all_tools", "risk", "pins", "instructions"],
};

const RULE_FIELDS: &[&str] = &["action", "reason", "description"];

/// A rule in `tools`.
const TOOL: Fields = Fields {
    known: RULE_FIELDS,
    later: &[
        "require",
        "deny_if",
        "limits",
        "rate_limit",
        "max_concurrent",
        "require_approval",
        "unwrap",
        "mode",
    ],
};

/// A rule in `resources` or `prompts`.
const RULE: Fields = Fields {
    known: RULE_FIELDS,
    later: &[
        "require",
        "deny_if",
        "limits",
        "rate_limit",
        "max_concurrent",
        "require_approval",
        "mode",
    ],
};

/// The words that a field takes, and what each of them means.
struct Choice<T: 'static> {
    known: &'static [(&'static str, T)],
    later: &'static [&'static str],
    expected: &'static str,
}

const DEFAULT: Choice<DefaultAction> = Choice {
    known: &[
        ("allow", DefaultAction::Allow),
        ("deny", DefaultAction::Deny),
        ("hide", DefaultAction::Hide),
    ],
    later: &[],
    expected: r#""allow", "deny" or "hide""#,
};

const ACTION: Choice<RuleAction> = Choice {
    known: &[
        ("allow", RuleAction::Allow),
        ("deny", RuleAction::Deny),
        ("hide", RuleAction::Hide),
    ],
    later: &["require_approval"],
    expected: r#""allow", "deny" or "hide""#,
};

const METHOD: Choice<MethodRule> = Choice {
    known: &[("allow", MethodRule::Allow), ("deny", MethodRule::Deny)],
    later: &[],
    expected: r#""allow" or "deny""#,
};

struct Reader<'p> {
    problems: &'p mut Problems,
}

impl Reader<'_> {
    fn document(&mut self, root: &Node, document: &mut PolicyDocument) {
        let Some(members) = self.object(root, "") else {
            return;
        };
        for member in members {
            let pointer = join("", &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "version" => self.version(node, &pointer),
                "$schema" => document.schema = self.text(node, &pointer),
                "name" => document.name = self.text(node, &pointer),
                "description" => document.description = self.text(node, &pointer),
                "default" => {
                    if let Some(default) = self.choose(&DEFAULT, node, &pointer) {
                        document.default = default;
                    }
                }
                "hide" => self.hide(node, &pointer, document),
                "tools" => self.section(&TOOL, node, &pointer, &mut document.tools),
                "resources" => self.section(&RULE, node, &pointer, &mut document.resources),
                "prompts" => self.section(&RULE, node, &pointer, &mut document.prompts),
                "methods" => self.methods(node, &pointer, document),
                _ => self.no_field(&DOCUMENT, member, ""),
            }
        }
        self.demand(root, members, "version", r#"write `"version": "1"`"#);
        self.demand(
            root,
            members,
            "default",
            r#"write `"default": "deny"` to refuse what nothing names, or "hide", or "allow""#,
        );
    }

    fn version(&mut self, node: &Node, pointer: &str) {
        match &node.value {
            Value::String(version) if version == Version::TEXT => {}
            Value::String(version) => self.problems.report(|| {
                let message = format!("unknown version \"{}\", expected \"1\"", printable(version));
                Problem::at_value(pointer.to_owned(), message)
            }),
            _ => self.wrong(node, pointer, r#"the string "1""#),
        }
    }

    fn hide(&mut self, node: &Node, pointer: &str, document: &mut PolicyDocument) {
        let Value::Array(items) = &node.value else {
            return self.wrong(node, pointer, "a list of names and patterns");
        };
        for (index, item) in items.iter().enumerate() {
            match &item.value {
                Value::String(name) => document.hide.push(name.clone()),
                _ => {
                    // Holds the place, so that later items keep their index.
                    document.hide.push("*".to_owned());
                    self.wrong(item, &join(pointer, &index.to_string()), "a string");
                }
            }
        }
    }

    fn section(
        &mut self,
        fields: &Fields,
        node: &Node,
        pointer: &str,
        rules: &mut BTreeMap<String, Rule>,
    ) {
        for member in self.object(node, pointer).unwrap_or_default() {
            let rule = self.rule(fields, &member.value, &join(pointer, &member.key));
            rules.insert(member.key.clone(), rule);
        }
    }

    /// A rule with a mistake in it is read as one that denies: two of those
    /// never contradict each other, so nothing is reported that may be no
    /// mistake once this one is mended.
    fn rule(&mut self, fields: &Fields, node: &Node, pointer: &str) -> Rule {
        let mut rule = Rule::allow();
        let Some(members) = self.object(node, pointer) else {
            rule.action = RuleAction::Deny;
            return rule;
        };
        for member in members {
            let at = || join(pointer, &member.key);
            let node = &member.value;
            match member.key.as_str() {
                "action" => {
                    let action = self.choose(&ACTION, node, &at());
                    rule.action = action.unwrap_or(RuleAction::Deny);
                }
                "reason" => rule.reason = self.text(node, &at()),
                "description" => rule.description = self.text(node, &at()),
                _ => self.no_field(fields, member, pointer),
            }
        }
        if members
            .iter()
            .any(|member| !fields.known.contains(&member.key.as_str()))
        {
            rule.action = RuleAction::Deny;
        }
        rule
    }

    fn methods(&mut self, node: &Node, pointer: &str, document: &mut PolicyDocument) {
        for member in self.object(node, pointer).unwrap_or_default() {
            let rule = self.choose(&METHOD, &member.value, &join(pointer, &member.key));
            let rule = rule.unwrap_or(MethodRule::Deny);
            document.methods.insert(member.key.clone(), rule);
        }
    }

    fn object<'n>(&mut self, node: &'n Node, pointer: &str) -> Option<&'n [Member]> {
        match &node.value {
            Value::Object(members) => Some(members),
            _ => {
                self.wrong(node, pointer, "an object");
                None
            }
        }
    }

    fn text(&mut self, node: &Node, pointer: &str) -> Option<String> {
        match &node.value {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.wrong(node, pointer, "a string");
                None
            }
        }
    }

    fn choose<T: Copy>(&mut self, choice: &Choice<T>, node: &Node, pointer: &str) -> Option<T> {
        let Value::String(word) = &node.value else {
            self.wrong(node, pointer, choice.expected);
            return None;
        };
        let meaning = choice.known.iter().find(|(known, _)| known == word);
        if meaning.is_none() {
            self.problems.report(|| {
                let found = printable(word);
                if choice.later.contains(&word.as_str()) {
                    let message = format!("\"{found}\" is not supported yet");
                    return Problem::at_value(pointer.to_owned(), message).with_help(LATER);
                }
                let message = format!("found \"{found}\", expected {}", choice.expected);
                let problem = Problem::at_value(pointer.to_owned(), message);
                match nearest(word, choice.known.iter().map(|(known, _)| *known)) {
                    Some(known) => problem.with_help(format!("did you mean \"{known}\"?")),
                    None => problem,
                }
            });
        }
        meaning.map(|(_, meaning)| *meaning)
    }

    fn no_field(&mut self, fields: &Fields, member: &Member, parent: &str) {
        let key = member.key.as_str();
        self.problems.report(|| {
            let pointer = join(parent, key);
            if fields.later.contains(&key) {
                let message = format!("field {} is not supported yet", quote(key));
                return Problem::at_key(pointer, message).with_help(LATER);
            }
            let all = fields.known.iter().chain(fields.later).copied();
            let help = match nearest(key, all) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("the fields here are `{}`", fields.known.join("`, `")),
            };
            Problem::at_key(pointer, format!("unknown field {}", quote(key))).with_help(help)
        });
    }

    fn demand(&mut self, root: &Node, members: &[Member], field: &str, help: &str) {
        if members.iter().any(|member| member.key == field) {
            return;
        }
        // The brace that opens the object, rather than all of it.
        let brace = root.span.start..root.span.start + 1;
        self.problems.report(|| {
            Problem::at_bytes(brace, format!("the field `{field}` is missing")).with_help(help)
        });
    }

    fn wrong(&mut self, node: &Node, pointer: &str, expected: &str) {
        self.problems.report(|| {
            let message = format!("found {}, expected {expected}", describe(&node.value));
            Problem::at_value(pointer.to_owned(), message)
        });
    }
}

const LATER: &str = "this build does not enforce it, and nothing in a policy is ever read and \
                     ignored: leave it out, or use a build that does";

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(token) => format!("the number {}", printable(token)),
        Value::String(text) => format!("the string \"{}\"", printable(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The known word that `word` was probably meant to be.
fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let length = word.chars().take(LONGEST_WORD + 1).count();
    if length > LONGEST_WORD {
        return None;
    }
    let word = word.to_lowercase();
    known
        .map(|known| (strsim::damerau_levenshtein(&word, known), known))
        .filter(|(distance, known)| *distance <= (length.max(known.len()) / 3).max(1))
        .min()
        .map(|(_, known)| known)
}

/// Longer than any word of the language; the distance to such a word tells
/// nothing and takes long to find.
const LONGEST_WORD: usize = 40;

/// Counts before anything else is done, so that a document with millions of
/// entries costs no more than reading it.
fn too_many_entries(root: &Node, problems: &mut Problems) -> bool {
    let Value::Object(members) = &root.value else {
        return false;
    };
    let entries = |value: &Value| match value {
        Value::Object(members) => members.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    let count: usize = members
        .iter()
        .map(|member| entries(&member.value.value))
        .sum();
    let count = count.max(members.len());
    if count > MAX_ENTRIES {
        problems.report(|| {
            let message =
                format!("the document has {count} entries, at most {MAX_ENTRIES} are read");
            let brace = root.span.start..root.span.start + 1;
            Problem::at_bytes(brace, message).with_help("use patterns, such as `read_*`")
        });
    }
    count > MAX_ENTRIES
}

/// Reports every name that one object has twice, at any depth. The reader of
/// the tree bounds the depth.
fn report_duplicates(node: &Node, path: &Path<'_>, problems: &mut Problems) {
    match &node.value {
        Value::Object(members) => {
            let mut seen = HashSet::new();
            for member in members {
                let path = Path::Member(path, &member.key);
                if !seen.insert(member.key.as_str()) {
                    problems.report(|| {
                        let message = format!("{} is here twice", quote(&member.key));
                        let mut problem = Problem::at_bytes(member.key_span.clone(), message);
                        problem.pointer = path.pointer();
                        problem.with_help("JSON readers differ in which one they take: keep one")
                    });
                }
                report_duplicates(&member.value, &path, problems);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                report_duplicates(item, &Path::Item(path, index), problems);
            }
        }
        _ => {}
    }
}

/// A JSON Pointer that is only written out where there is something to report.
enum Path<'p> {
    Document,
    Member(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Document => String::new(),
            Self::Member(parent, key) => join(&parent.pointer(), key),
            Self::Item(parent, index) => join(&parent.pointer(), &index.to_string()),
        }
    }
}
