//! From document to what decides: names parsed, look-alikes folded, everything
//! in the order in which it is asked. Nothing is compiled per call.

use std::collections::HashMap;

use super::approval::Approval;
use super::check::Checks;
use super::condition::Regexes;
use super::diagnostic::{Problem, Problems, join, quote};
use super::document::{DefaultAction, MethodRule, Mode, PolicyDocument};
use super::limits::Limits;
use super::pins;
use super::risk;
use super::section::{Kind, Section, View};
use crate::fold::fold;
use crate::mcp::method::{self, Subject};

/// A document, ready to decide.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) default: DefaultAction,
    /// What is said of everything that nothing names, if that is allowed.
    pub(super) default_place: &'static str,
    /// What is asked of every tool call.
    pub(super) all_tools: Option<Checks>,
    /// What every tool call counts.
    pub(super) all_limits: Option<Limits>,
    /// Which tool calls wait for an approval, whatever the tool is.
    pub(super) all_approval: Option<Approval>,
    pub(super) tools: Section,
    pub(super) resources: Section,
    pub(super) prompts: Section,
    pub(super) methods: Methods,
    /// What is said of tools that nothing names.
    pub(super) risk: Option<risk::Compiled>,
    /// What somebody has approved.
    pub(super) pins: Option<pins::Compiled>,
}

impl Rules {
    /// What does not make sense is reported and left out; the result is only
    /// good if nothing was.
    pub(super) fn compile(
        document: &PolicyDocument,
        view: View,
        regexes: &mut Regexes,
        problems: &mut Problems,
    ) -> Self {
        if view == View::Enforced && document.mode == Mode::Shadow {
            return Self::allow_all(regexes, problems);
        }
        let of_all = document.all_tools.as_ref().filter(|rule| view.sees(rule));
        let roots = Kind::Tools.roots();
        let all_tools =
            of_all.and_then(|rule| Checks::compile(rule, "/all_tools", roots, regexes, problems));
        let all_limits =
            of_all.and_then(|rule| Limits::compile(rule, "/all_tools", document, roots, problems));
        let all_approval =
            of_all.and_then(|rule| Approval::compile(rule, "/all_tools", roots, regexes, problems));
        let mut section = |kind| Section::compile(kind, document, view, regexes, problems);
        Self {
            default: document.default,
            default_place: "/default",
            all_tools,
            all_limits,
            all_approval,
            tools: section(Kind::Tools),
            resources: section(Kind::Resources),
            prompts: section(Kind::Prompts),
            risk: risk::Compiled::compile(document, view, regexes, problems),
            methods: Methods::compile(document, problems),
            pins: document.pins.as_ref().map(pins::Compiled::of),
        }
    }

    /// What is enforced of a document in shadow.
    fn allow_all(regexes: &mut Regexes, problems: &mut Problems) -> Self {
        let mut document = PolicyDocument::new(DefaultAction::Allow);
        document.methods.insert("*".to_owned(), MethodRule::Allow);
        let mut rules = Self::compile(&document, View::Written, regexes, problems);
        rules.default_place = SHADOW;
        if let Some(others) = &mut rules.methods.others {
            others.place = SHADOW.to_owned();
        }
        rules
    }

    pub(super) fn section(&self, kind: Kind) -> &Section {
        match kind {
            Kind::Tools => &self.tools,
            Kind::Resources => &self.resources,
            Kind::Prompts => &self.prompts,
        }
    }

    /// What is said by risk of what no entry of the section names.
    pub(super) fn risk_of(&self, kind: Kind) -> Option<&risk::Compiled> {
        self.risk.as_ref().filter(|_| kind == Kind::Tools)
    }
}

/// Where a document says that it is in shadow.
const SHADOW: &str = "/mode";

/// What `methods` says.
#[derive(Debug, Default)]
pub(super) struct Methods {
    pub(super) named: HashMap<String, MethodEntry>,
    /// The entry `"*"`.
    pub(super) others: Option<MethodEntry>,
    /// Names that are denied, folded as [`fold_method`] does.
    pub(super) like_denied: HashMap<String, MethodEntry>,
}

/// One member of `methods`.
#[derive(Clone, Debug)]
pub(super) struct MethodEntry {
    pub(super) rule: MethodRule,
    /// `/methods/NAME`.
    pub(super) place: String,
}

impl Methods {
    fn compile(document: &PolicyDocument, problems: &mut Problems) -> Self {
        let mut methods = Self::default();
        for (name, rule) in &document.methods {
            let place = join("/methods", name);
            if let Some((message, help)) = refuse_method(name) {
                problems.report(|| Problem::at_key(place, message).with_help(help));
                continue;
            }
            let entry = MethodEntry { rule: *rule, place };
            if name == "*" {
                methods.others = Some(entry);
                continue;
            }
            if entry.rule == MethodRule::Deny {
                let folded = fold_method(name);
                methods
                    .like_denied
                    .entry(folded)
                    .or_insert_with(|| entry.clone());
            }
            methods.named.insert(name.clone(), entry);
        }
        methods
    }
}

/// The form in which methods are told apart by `"*"`, so that a server which
/// is careless about case, invisible characters or trailing slashes is not
/// reached through it.
pub(super) fn fold_method(name: &str) -> String {
    let mut folded = fold(name);
    folded.retain(|c| !c.is_control());
    folded.truncate(folded.trim_end_matches('/').len());
    folded
}

/// The method of the protocol that `name` is, or could be taken for.
pub(super) fn known_method(name: &str) -> Option<&'static method::Method> {
    method::lookup(name)
        .or_else(|| method::resembles(name))
        .or_else(|| method::resembles(&fold_method(name)))
}

/// Why `methods` cannot have this member, and what helps.
fn refuse_method(name: &str) -> Option<(String, &'static str)> {
    if name.is_empty() {
        return Some((
            "the name of a method cannot be empty".to_owned(),
            "write the name of a method, or `*` for all that are not judged otherwise",
        ));
    }
    if name.contains('*') && name != "*" {
        return Some((
            format!("methods have no patterns, found {}", quote(name)),
            "write each method by its name, or `*` alone for all others",
        ));
    }
    let known = known_method(name)?;
    let what = if known.name == name {
        quote(name)
    } else {
        format!("{} can be taken for `{}`, which", quote(name), known.name)
    };
    let (why, help) = match known.subject {
        Subject::Nothing | Subject::Setting => {
            ("always passes", "leave it out: nothing runs by it")
        }
        Subject::Tool => (
            "is judged by `tools`",
            "say in `tools` which tools may be called",
        ),
        Subject::Prompt
        | Subject::Resource
        | Subject::Reference
        | Subject::Subscriptions
        | Subject::Task
        | Subject::AllTasks => ("is judged by what it names", "leave it out"),
    };
    Some((format!("{what} {why}"), help))
}
