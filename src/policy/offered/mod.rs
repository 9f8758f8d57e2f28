//! Whether a policy fits the tools that a server offers: names that nothing
//! has, and conditions that its tools cannot meet.
//!
//! This is advice, so that what is too much or too odd to be compared is let
//! be, and never a problem.

mod conditions;
mod names;
mod pins;
mod schema;

use std::collections::HashMap;

use serde_json::Value;

use self::schema::Schema;
use super::Policy;
use super::compile::Rules;
use super::decide::Names;
use super::diagnostic::{Diagnostic, Problems, Severity};
use super::listed::{ListedTools, Wants};
use super::pins::{Definitions, Seen};
use crate::json::tree;

/// The most tools that are looked at.
const MOST_TOOLS: usize = 20_000;

impl Policy {
    /// What of the document does not fit the tools that a server offers, as
    /// warnings: an entry for a tool that it does not offer, a pattern that none
    /// of them matches, a condition on an argument that is not in the
    /// `inputSchema` of the tool, and one that compares it with what it never
    /// is; and limits that count by an argument which is not there, or is no
    /// number. Rules by risk are compared with the tools that they apply to.
    ///
    /// Each value is one tool, as in the result of `tools/list`; what is no tool
    /// with a name counts for nothing. What is in shadow is looked at as if it
    /// were not. The first 20 000 tools are looked at.
    ///
    /// ```
    /// use mcp_policy::Policy;
    /// use serde_json::json;
    ///
    /// let policy: Policy = r#"{
    ///     "version": "1",
    ///     "default": "deny",
    ///     "tools": { "refnud": {} }
    /// }"#.parse()?;
    /// let tools = [json!({ "name": "refund", "inputSchema": { "type": "object" } })];
    ///
    /// let found = policy.check_tools(&tools);
    /// assert_eq!(found[0].message(), "the server offers no tool `refnud`");
    /// assert_eq!(found[0].help(), Some("did you mean `refund`?"));
    /// assert_eq!(found[0].pointer(), "/tools/refnud");
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    pub fn check_tools(&self, tools: &[Value]) -> Vec<Diagnostic> {
        let rules = self.inner.written.as_ref().unwrap_or(&self.inner.rules);
        let tools = tools.get(..MOST_TOOLS).unwrap_or(tools);
        let definitions = tools;
        let tools: Vec<Tool<'_>> = tools.iter().filter_map(Tool::read).collect();
        let document = self.document();
        let mut problems = Problems::default();
        names::warn(document, &tools, &mut problems);
        pins::warn(document, definitions, &mut problems);
        let risks = Wants {
            digests: false,
            risks: true,
        };
        let by_risk = rules.risk.as_ref();
        let listed = by_risk.map(|_| ListedTools::with(definitions, risks));
        let applied = Applied::of(rules, &tools, listed.as_ref());
        conditions::warn(document, &applied, &mut problems);
        let root = tree::parse(self.source_text().as_bytes()).ok();
        problems.locate(Severity::Warning, self.source_text(), root.as_ref())
    }
}

/// A tool that the server offers.
#[derive(Clone, Copy, Debug)]
struct Tool<'t> {
    name: &'t str,
    arguments: Schema<'t>,
}

impl<'t> Tool<'t> {
    fn read(tool: &'t Value) -> Option<Self> {
        Some(Self {
            name: tool.get("name")?.as_str()?,
            arguments: Schema::new(tool.get("inputSchema").unwrap_or(&Value::Null)),
        })
    }
}

/// The tools about whose calls more than their name is asked.
#[derive(Debug, Default)]
struct Applied<'t> {
    /// By the place of the rule that applies.
    by_rule: HashMap<&'t str, Vec<Tool<'t>>>,
    /// All of them, which are those of `all_tools`.
    all: Vec<Tool<'t>>,
}

impl<'t> Applied<'t> {
    fn of(rules: &'t Rules, tools: &[Tool<'t>], listed: Option<&ListedTools>) -> Self {
        let seen = Seen(listed.map(|listed| listed as &dyn Definitions));
        let mut applied = Self::default();
        for tool in tools {
            let said = rules.judge(&rules.tools, tool.name, Names::All, seen);
            if !said.allows() {
                continue;
            }
            applied.all.push(*tool);
            if let Some(rule) = said.rule() {
                applied.by_rule.entry(rule.place()).or_default().push(*tool);
            }
        }
        applied
    }

    fn by_rule(&self, place: &str) -> &[Tool<'t>] {
        self.by_rule.get(place).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools() -> Vec<Value> {
        vec![
            json!({ "name": "refund", "inputSchema": { "type": "object", "properties": {
                "amount": { "type": "number" },
                "currency": { "type": "string" },
                "to": { "type": "object", "properties": { "iban": { "type": "string" } } },
                "notes": { "type": "array", "items": { "type": "string" } },
            } } }),
            json!({ "name": "read_mail", "inputSchema": { "type": "object", "properties": {
                "folder": { "type": "string" },
            } } }),
            json!({ "name": "read_file", "inputSchema": { "type": "object", "properties": {
                "path": { "type": "string" },
            } } }),
            json!({ "name": "odd", "inputSchema": "text" }),
            json!({ "title": "without a name" }),
            json!(7),
        ]
    }

    /// Place and message of each.
    fn found(document: Value) -> Vec<(String, String)> {
        let policy: Policy = document.to_string().parse().unwrap();
        let found = policy.check_tools(&tools());
        assert!(found.iter().all(|d| d.severity() == Severity::Warning));
        found
            .iter()
            .map(|d| (d.pointer().to_owned(), d.message().to_owned()))
            .collect()
    }

    fn places(document: Value) -> Vec<String> {
        found(document)
            .into_iter()
            .map(|(place, _)| place)
            .collect()
    }

    #[test]
    fn names_that_nothing_has() {
        let found = places(json!({
            "version": "1", "default": "deny",
            "hide": ["refund", "wipe", "delete_*", "read_*"],
            "tools": {
                "refund": {}, "refnud": {}, "odd": { "action": "deny" }, "read_m*": {},
                "write_*": {}, r"re\\*": {}, "without a name": {},
            },
        }));
        let expected = [
            "/hide/1",
            "/hide/2",
            r"/tools/re\\*",
            "/tools/refnud",
            "/tools/without a name",
            "/tools/write_*",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_a_dispatcher_calls_need_not_be_offered() {
        let found = found(json!({
            "version": "1", "default": "deny",
            "tools": {
                "odd": { "unwrap": { "name": "args.n", "arguments": "args.a" } },
                "inner_tool": {}, "inner_*": {}, "refnud": {},
            },
        }));
        let expected = ("/tools/refnud", "the server offers no tool `refnud`");
        assert_eq!(found, [(expected.0.to_owned(), expected.1.to_owned())]);
    }

    fn with(purpose: &str, tool: &str, condition: Value) -> Value {
        let check = json!([{ "conditions": [condition] }]);
        json!({
            "version": "1", "default": "deny",
            "tools": { tool: { purpose: check }, "re*": {}, "odd": {} },
        })
    }

    #[test]
    fn conditions_on_what_a_tool_does_not_take() {
        let condition = |path: &str| json!({ "path": path, "op": "exists", "value": true });
        for path in [
            "args.amount",
            "args.to.iban",
            "args.notes[*]",
            "args",
            "caller.id",
        ] {
            assert_eq!(
                found(with("require", "refund", condition(path))),
                [],
                "{path}"
            );
        }
        for path in [
            "args.amuont",
            "args.to.bic",
            "args.amount.value",
            "args.notes.a",
        ] {
            for purpose in ["require", "deny_if"] {
                let found = found(with(purpose, "refund", condition(path)));
                let place = format!("/tools/refund/{purpose}/0/conditions/0/path");
                let message = format!("there is no `{path}` in the `inputSchema` of `refund`");
                assert_eq!(found, [(place, message)]);
            }
        }
        assert_eq!(found(with("require", "odd", condition("args.a"))), []);
    }

    #[test]
    fn what_could_be_meant_instead_is_told() {
        let help = |path: &str, properties: Value| {
            let tool = json!({ "name": "refund", "inputSchema": {
                "type": "object", "properties": properties,
            } });
            let condition = json!({ "path": path, "op": "exists", "value": true });
            let document = with("require", "refund", condition).to_string();
            let found = document.parse::<Policy>().unwrap().check_tools(&[tool]);
            let of_path = found.iter().find(|d| d.pointer().ends_with("/path"));
            of_path.unwrap().help().map(str::to_owned)
        };
        let five = json!({ "amount": {}, "b": {}, "c": {}, "d": {}, "to": { "type": "string" } });
        let mut six = five.clone();
        six["e"] = json!({});
        for (path, properties, expected) in [
            ("args.amuont", &five, Some("did you mean `amount`?")),
            (
                "args.other",
                &five,
                Some("it takes `amount`, `b`, `c`, `d`, `to`"),
            ),
            (
                "args.other",
                &six,
                Some("it takes `amount`, `b`, `c`, `d`, `e`, …"),
            ),
            ("args.other", &json!({}), None),
            // It is there, and what is in it is not.
            ("args.to.iban", &five, None),
        ] {
            let help = help(path, properties.clone());
            assert_eq!(help.as_deref(), expected, "{path} {properties}");
        }
    }

    #[test]
    fn so_many_patterns_are_compared_with_so_many_tools() {
        let tools: Vec<Value> = (0..10_000)
            .map(|n| json!({ "name": format!("{n}") }))
            .collect();
        let warnings = |patterns: usize| {
            let rules: serde_json::Map<_, _> = (0..patterns)
                .map(|n| (format!("t{n}*"), json!({ "action": "deny" })))
                .collect();
            let document = json!({ "version": "1", "default": "deny", "tools": rules });
            let policy: Policy = document.to_string().parse().unwrap();
            policy.check_tools(&tools).len()
        };
        assert!(warnings(10_000) > 0);
        assert_eq!(warnings(10_001), 0);
    }

    #[test]
    fn a_rule_for_many_forbids_what_some_take_and_requires_what_all_do() {
        let condition = |path: &str| json!({ "path": path, "op": "exists", "value": true });
        let count = |purpose, path| found(with(purpose, "read_*", condition(path))).len();
        assert_eq!(count("deny_if", "args.path"), 0);
        assert_eq!(count("require", "args.path"), 1);
        assert_eq!(count("deny_if", "args.nothing"), 1);
        let all = |purpose: &str, path: &str| {
            let check = json!([{ "conditions": [condition(path)] }]);
            places(json!({
                "version": "1", "default": "deny", "all_tools": { purpose: check },
                "tools": { "refund": {}, "read_*": {} },
            }))
        };
        assert!(all("deny_if", "args.path").is_empty());
        assert_eq!(
            all("require", "args.path"),
            ["/all_tools/require/0/conditions/0/path"]
        );
        // `odd` is not allowed, so that it does not matter what it takes.
        assert_eq!(
            all("deny_if", "args.none"),
            ["/all_tools/deny_if/0/conditions/0/path"]
        );
    }

    #[test]
    fn values_that_an_argument_never_has() {
        for (path, op, value, expected) in [
            ("args.amount", "eq", json!(5), true),
            ("args.amount", "eq", json!("5"), false),
            ("args.amount", "in", json!([5, "5"]), false),
            ("args.amount", "not_in", json!([5, 6.5]), true),
            ("args.amount", "lte", json!(5), true),
            ("args.currency", "lte", json!(5), false),
            ("args.currency", "regex", json!("^a$"), true),
            ("args.amount", "starts_with", json!("a"), false),
            ("args.notes", "contains", json!("a"), true),
            ("args.currency", "contains", json!("a"), true),
            ("args.currency", "contains", json!(1), false),
            ("args.to", "keys_in", json!(["iban"]), true),
            ("args.notes", "keys_in", json!(["iban"]), false),
            ("args.to", "length_lte", json!(1), true),
            ("args.amount", "length_lte", json!(1), false),
            ("args.amount", "exists", json!(true), true),
        ] {
            let condition = json!({ "path": path, "op": op, "value": value });
            let found = places(with("require", "refund", condition));
            assert_eq!(found.is_empty(), expected, "{path} {op} {value}: {found:?}");
            if !expected {
                assert_eq!(found, ["/tools/refund/require/0/conditions/0/value"]);
            }
        }
    }

    #[test]
    fn a_limit_counts_by_a_number_that_the_tool_takes() {
        let limit = |path: &str| {
            let limit =
                json!({ "counter": "c", "window": "day", "max": 1, "increment_from": path });
            found(json!({
                "version": "1", "default": "deny",
                "tools": { "refund": { "limits": [limit] } },
            }))
        };
        let place = "/tools/refund/limits/0/increment_from";
        let said = |message: &str| [(place.to_owned(), message.to_owned())];
        assert_eq!(limit("args.amount"), []);
        assert_eq!(limit("caller.claims.weight"), []);
        let missing = "there is no `args.amuont` in the `inputSchema` of `refund`";
        assert_eq!(limit("args.amuont"), said(missing));
        let text = "this has to be a number, but `args.currency` of `refund` is a string";
        assert_eq!(limit("args.currency"), said(text));
        let items = "this has to be a number, but `args.notes[*]` of `refund` is a string";
        assert_eq!(limit("args.notes[*]"), said(items));
    }

    #[test]
    fn a_dispatcher_has_to_be_told_by_what_it_takes() {
        let unwrap = |name: &str, arguments: &str| {
            places(json!({
                "version": "1", "default": "deny",
                "tools": { "refund": { "unwrap": { "name": name, "arguments": arguments } } },
            }))
        };
        assert!(unwrap("args.currency", "args.to").is_empty());
        let expected = [
            "/tools/refund/unwrap/arguments",
            "/tools/refund/unwrap/name",
        ];
        assert_eq!(unwrap("args.amount", "args.other"), expected);
    }

    #[test]
    fn names_of_the_server_cannot_forge_a_message() {
        let policy: Policy = r#"{"version":"1","default":"deny","tools":{"ab":{}}}"#
            .parse()
            .unwrap();
        let tools = [
            json!({ "name": "ab\n\u{202e}" }),
            json!({ "name": "x".repeat(1 << 20) }),
        ];
        let found = policy.check_tools(&tools);
        let help = found[0].help().unwrap_or_default();
        assert!(!help.contains('\n') && !help.contains('\u{202e}'), "{help}");
    }

    #[test]
    fn very_many_of_everything_take_no_time() {
        let rules: serde_json::Map<_, _> = (0..20_000)
            .map(|n| (format!("*a*{n}*b"), json!({ "action": "deny" })))
            .collect();
        let condition = json!({ "path": "args.a", "op": "exists", "value": true });
        let check = json!({ "conditions": vec![condition; 2_000] });
        let document = |members: Value| -> Policy {
            let mut document = json!({ "version": "1", "default": "allow" });
            document
                .as_object_mut()
                .unwrap()
                .extend(members.as_object().unwrap().clone());
            document.to_string().parse().unwrap()
        };
        let tools: Vec<Value> = (0..1_000)
            .map(|n| json!({ "name": format!("t{n}"), "inputSchema": { "properties": { "a": {} } } }))
            .collect();
        let patterns = document(json!({ "tools": rules }));
        assert!(!patterns.check_tools(&tools).is_empty());
        let conditions = document(json!({ "all_tools": { "require": [check] } }));
        let found = conditions.check_tools(&tools);
        let says_so = |found: &Diagnostic| found.message().contains("too many conditions");
        assert!(found.iter().any(says_so), "{found:?}");
    }
}
