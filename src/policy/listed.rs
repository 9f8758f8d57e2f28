//! What was seen of the definitions of a server's tools.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::pins::{DefinitionDigest, Definitions, digest_of};
use super::risk::{SeenRisk, by_name};
use super::section::LONGEST_FOLDED;
use crate::fold::fold;
use crate::risk::{self, RiskCategory, ToolDefinition};

/// The tools of a server as it lists them, by which `pins` and `risk` of a policy judge
/// a call of one of them.
///
/// A [`PolicyLayer`](crate::PolicyLayer) remembers by itself what passes through it. This
/// is for asking a [`Policy`](crate::Policy) directly:
/// see [`Action::with_tools`](crate::Action::with_tools).
///
/// ```
/// use mcp_policy::{Action, ListedTools, Policy};
/// use serde_json::json;
///
/// let policy: Policy = r#"{
///     "version": "1",
///     "default": "deny",
///     "risk": { "read": {} }
/// }"#.parse()?;
/// let call = Action::call_tool("get_weather");
/// // Nobody knows yet what it does.
/// assert_eq!(policy.decide(&call).rule(), "(default deny)");
///
/// let tools = ListedTools::of(&[json!({ "name": "get_weather", "inputSchema": {} })]);
/// let call = call.with_tools(&tools);
/// assert_eq!(policy.decide(&call).rule(), "/risk/read");
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[derive(Clone, Default)]
pub struct ListedTools {
    tools: HashMap<Box<str>, ListedTool>,
    /// Of each name that something bad was seen of, folded: the worst.
    looks: HashMap<Box<str>, RiskCategory>,
    /// The worst for which there was no room there.
    forgotten: Option<RiskCategory>,
}

/// Tells the text of a definition from all others.
pub(crate) type TextDigest = [u8; 32];

/// What a definition comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedTool {
    text: TextDigest,
    /// `None` if nobody asked.
    pub(crate) digest: Option<DefinitionDigest>,
    /// The worse of what name and definition say; `None` if nobody asked.
    pub(crate) risk: Option<RiskCategory>,
}

/// The longest name that is remembered: none is longer that anything allows without
/// naming it exactly.
const LONGEST_NAME: usize = LONGEST_FOLDED;

impl ListedTools {
    /// Of the `tools` of an answer to `tools/list`. What is no tool with a name counts for
    /// nothing; of two tools of one name the last counts.
    pub fn of(tools: &[Value]) -> Self {
        let all = Wants {
            digests: true,
            risks: true,
        };
        Self::with(tools, all)
    }

    /// The same, of which only so much is to be known.
    pub(super) fn with(tools: &[Value], wants: Wants) -> Self {
        let mut listed = Self::default();
        for tool in tools {
            let Some(definition) = ToolDefinition::from_value(tool) else {
                continue;
            };
            let name = definition.name();
            let entry = tool.to_string();
            let entry = entry.as_bytes();
            let risk = || Some(risk::of_definition(&definition));
            let tool = ListedTool::new(name, entry, text_digest(entry), wants, risk);
            listed.see(name, tool, None);
        }
        listed
    }

    /// What a text came to when the tool was last listed, if that was the same text and
    /// all that is to be known of it is known.
    pub(crate) fn unchanged(
        &self,
        name: &str,
        text: TextDigest,
        wants: Wants,
    ) -> Option<ListedTool> {
        let known = self.tools.get(name).filter(|known| known.text == text)?;
        let is_missing =
            wants.digests && known.digest.is_none() || wants.risks && known.risk.is_none();
        (!is_missing).then_some(*known)
    }

    /// A tool is listed so now. At most so many are remembered, or this one in any case.
    pub(crate) fn see(&mut self, name: &str, tool: ListedTool, most: Option<usize>) {
        let has_room = |count: usize| most.is_none_or(|most| count < most);
        let is_short = |text: &str| most.is_none() || text.len() <= LONGEST_NAME;
        if let Some(known) = self.tools.get_mut(name) {
            *known = tool;
        } else if is_short(name) && has_room(self.tools.len()) {
            self.tools.insert(name.into(), tool);
        }
        // What nobody has seen is as bad as this anyway.
        let Some(risk) = tool.risk.filter(|risk| *risk > RiskCategory::Unknown) else {
            return;
        };
        let look = fold(name);
        if let Some(worst) = self.looks.get_mut(&*look) {
            *worst = risk.max(*worst);
        } else if !(is_short(name) && is_short(&look)) {
            // Nothing that is allowed looks like this.
        } else if has_room(self.looks.len()) {
            self.looks.insert(look.into(), risk);
        } else {
            self.forgotten = self.forgotten.max(Some(risk));
        }
    }
}

impl Definitions for ListedTools {
    fn digest(&self, tool: &str) -> Option<DefinitionDigest> {
        self.tools.get(tool)?.digest
    }

    fn risk(&self, tool: &str) -> SeenRisk {
        if let Some(risk) = self.tools.get(tool).and_then(|listed| listed.risk) {
            return SeenRisk::Definition(risk);
        }
        if self.looks.is_empty() || tool.len() > LONGEST_NAME {
            return SeenRisk::Nothing;
        }
        let look = self.looks.get(&*fold(tool)).copied();
        let worst = look.or(self.forgotten);
        worst.map_or(SeenRisk::Nothing, SeenRisk::LookAlike)
    }
}

impl fmt::Debug for ListedTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.tools.keys().collect();
        names.sort_unstable();
        f.debug_tuple("ListedTools").field(&names).finish()
    }
}

impl ListedTool {
    /// Of an entry of a list, as it is written. What nobody can read is nothing that
    /// anybody has approved, and does the worst.
    pub(crate) fn read(name: &str, entry: &[u8], text: TextDigest, wants: Wants) -> Self {
        let by_definition = || {
            let entry = std::str::from_utf8(entry).ok();
            let definition = entry.and_then(ToolDefinition::from_json);
            definition.as_ref().map(risk::of_definition)
        };
        Self::new(name, entry, text, wants, by_definition)
    }

    /// What the definition says is looked at if that is wanted; `None` if nobody can read
    /// it.
    fn new(
        name: &str,
        entry: &[u8],
        text: TextDigest,
        wants: Wants,
        by_definition: impl FnOnce() -> Option<RiskCategory>,
    ) -> Self {
        let risk =
            || by_definition().map_or(RiskCategory::Destructive, |risk| risk.max(by_name(name)));
        Self {
            text,
            digest: wants.digests.then(|| digest_of(entry).unwrap_or_default()),
            risk: wants.risks.then(risk),
        }
    }
}

pub(crate) fn text_digest(text: &[u8]) -> TextDigest {
    Sha256::digest(text).into()
}

/// What is to be known of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) digests: bool,
    pub(crate) risks: bool,
}

/// One tool of a list, as it stands there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListEntry<'a> {
    pub(crate) name: &'a str,
    pub(crate) tool: ListedTool,
}

impl Definitions for ListEntry<'_> {
    fn digest(&self, tool: &str) -> Option<DefinitionDigest> {
        self.tool.digest.filter(|_| tool == self.name)
    }

    fn risk(&self, tool: &str) -> SeenRisk {
        let risk = self.tool.risk.filter(|_| tool == self.name);
        risk.map_or(SeenRisk::Nothing, SeenRisk::Definition)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: Wants = Wants {
        digests: true,
        risks: true,
    };

    fn read(name: &str, entry: &str, wants: Wants) -> ListedTool {
        let text = text_digest(entry.as_bytes());
        ListedTool::read(name, entry.as_bytes(), text, wants)
    }

    #[test]
    fn only_what_is_asked_for_is_found_out() {
        let entry = r#"{"name":"get_page"}"#;
        for (digests, risks) in [(false, false), (true, false), (false, true), (true, true)] {
            let tool = read("get_page", entry, Wants { digests, risks });
            assert_eq!(tool.digest, digest_of(entry.as_bytes()).filter(|_| digests));
            assert_eq!(tool.risk, Some(RiskCategory::Read).filter(|_| risks));
        }
        let whole = read("get_page", entry, ALL);
        assert_eq!(
            ListedTools::of(&[json!({ "name": "get_page" })]).tools["get_page"],
            whole
        );
    }

    #[test]
    fn what_nobody_can_read_does_the_worst() {
        let broken: [&[u8]; 4] = [
            b"{",
            b"{\"name\":1}",
            b"{\"name\":\"a\",\"x\":1,\"x\":1}",
            b"\xff",
        ];
        for entry in broken {
            let tool = ListedTool::read("get_page", entry, text_digest(entry), ALL);
            assert_eq!(tool.risk, Some(RiskCategory::Destructive));
            assert_eq!(tool.digest, Some(digest_of(entry).unwrap_or_default()));
        }
    }

    #[test]
    fn what_is_unchanged_is_known_if_all_of_it_is() {
        let entry = r#"{"name":"get_page"}"#;
        let text = text_digest(entry.as_bytes());
        let wants = [(false, false), (true, false), (false, true), (true, true)]
            .map(|(digests, risks)| Wants { digests, risks });
        for known in wants {
            let mut listed = ListedTools::default();
            let tool = read("get_page", entry, known);
            listed.see("get_page", tool, Some(1));
            for wanted in wants {
                let is_known = known.digests >= wanted.digests && known.risks >= wanted.risks;
                let found = listed.unchanged("get_page", text, wanted);
                assert_eq!(found, is_known.then_some(tool));
                assert_eq!(listed.unchanged("get_other", text, wanted), None);
                assert_eq!(
                    listed.unchanged("get_page", text_digest(b"{}"), wanted),
                    None
                );
            }
        }
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut listed = ListedTools::default();
        let [better, worse] =
            ["get_page", "delete_page"].map(|name| read(name, r#"{"name":"x"}"#, ALL));
        listed.see("one", worse, Some(1));
        listed.see("two", worse, Some(1));
        // What is forgotten could be any.
        assert_eq!(listed.digest("two"), None);
        let destructive = RiskCategory::Destructive;
        assert_eq!(listed.risk("two"), SeenRisk::LookAlike(destructive));
        assert_eq!(listed.risk("three"), SeenRisk::LookAlike(destructive));
        // What looks like one that was seen once is as bad as that ever was.
        listed.see("one", better, Some(1));
        assert_eq!(
            listed.risk("one"),
            SeenRisk::Definition(RiskCategory::Unknown)
        );
        assert_eq!(listed.risk("One"), SeenRisk::LookAlike(destructive));
        let executes = read("run_page", r#"{"name":"x"}"#, ALL);
        listed.see("ONE", executes, Some(1));
        assert_eq!(listed.risk("One"), SeenRisk::LookAlike(destructive));
        assert_eq!((listed.tools.len(), listed.looks.len()), (1, 1));
        // Nor is a name that no policy allows.
        let mut listed = ListedTools::default();
        for (length, is_remembered) in [(LONGEST_NAME, true), (LONGEST_NAME + 1, false)] {
            let name = "a".repeat(length);
            listed.see(&name, worse, Some(9));
            assert_eq!(listed.digest(&name).is_some(), is_remembered);
            let look = listed.risk(&name.to_uppercase());
            let expected = if is_remembered {
                SeenRisk::LookAlike(destructive)
            } else {
                SeenRisk::Nothing
            };
            assert_eq!(look, expected);
        }
        assert_eq!((listed.tools.len(), listed.looks.len()), (1, 1));
        // Of what is forgotten the worst counts, and what is known by its look is not it.
        let mut listed = ListedTools::default();
        for (name, tool) in [("one", executes), ("two", worse), ("three", executes)] {
            listed.see(name, tool, Some(1));
        }
        assert_eq!(listed.risk("four"), SeenRisk::LookAlike(destructive));
        let execute = RiskCategory::Execute;
        assert_eq!(listed.risk("One"), SeenRisk::LookAlike(execute));
        // Nor what grows too long when it is folded: no name that anything allows does.
        for (name, is_remembered) in [("\u{fdfa}", true), (&*"\u{fdfa}".repeat(99), false)] {
            let mut listed = ListedTools::default();
            listed.see(name, worse, Some(9));
            assert_eq!(listed.looks.len(), usize::from(is_remembered));
            assert_eq!(listed.forgotten, None);
        }
        // Unless a policy names it, as pins do.
        let name = "b".repeat(LONGEST_NAME + 1);
        listed.see(&name, worse, None);
        assert_eq!(listed.digest(&name), worse.digest);
    }

    #[test]
    fn what_is_worse_than_unknown_is_worse_for_what_looks_like_it() {
        let mut listed = ListedTools::default();
        for (name, is_bad) in [
            ("page", false),
            ("get_it", false),
            ("run_it", true),
            ("pay_invoice", true),
        ] {
            listed.see(
                name,
                read(name, &json!({ "name": name }).to_string(), ALL),
                Some(9),
            );
            let look = listed.risk(&name.to_uppercase());
            assert_eq!(look != SeenRisk::Nothing, is_bad, "{name}");
        }
    }

    #[test]
    fn an_entry_says_nothing_of_others() {
        let tool = read("get_page", r#"{"name":"get_page"}"#, ALL);
        let entry = ListEntry {
            name: "get_page",
            tool,
        };
        assert_eq!(
            entry.risk("get_page"),
            SeenRisk::Definition(RiskCategory::Read)
        );
        assert_eq!(entry.digest("get_page"), tool.digest);
        assert_eq!(entry.risk("get_other"), SeenRisk::Nothing);
        assert_eq!(entry.digest("get_other"), None);
    }

    #[test]
    fn names_are_shown_and_nothing_else() {
        let listed = ListedTools::of(&[
            json!({ "name": "b" }),
            json!({ "name": "a", "x": 7 }),
            json!(1),
        ]);
        assert_eq!(format!("{listed:?}"), r#"ListedTools(["a", "b"])"#);
    }
}
