mod approval;
mod limits;
mod pins;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

pub use self::approval::{Approver, RequireApproval};
pub use self::limits::{Limit, LimitWindow, MaxConcurrent, RateLimit, WindowReset};
pub use self::pins::{DefinitionError, OnDrift, Pins};
use super::condition::Operator;
use crate::risk::RiskCategory;

/// A policy document as a value: what a policy file says, field by field.
///
/// Build one in Rust and turn it into a [`Policy`](super::Policy) with
/// `Policy::try_from`, which checks it like any other document; or look at the
/// one a policy was made from with [`Policy::document`](super::Policy::document).
/// Maps are ordered by name, so that the JSON text of a document does not
/// depend on the order in which it was put together.
///
/// See [the page on policies](crate::docs::policy).
///
/// ```
/// use mcp_policy::{DefaultAction, Policy, PolicyDocument, Rule};
///
/// let mut document = PolicyDocument::new(DefaultAction::Deny);
/// document.name = Some("readers".into());
/// document.hide.push("delete_*".into());
/// document.tools.insert("read_*".into(), Rule::allow());
/// document.tools.insert("read_secret".into(), Rule::deny("Secrets stay here."));
///
/// let policy = Policy::try_from(document.clone())?;
/// assert_eq!(policy.document(), &document);
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyDocument {
    /// `$schema`: where an editor finds the schema. Has no effect.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The version of the language.
    version: Version,
    /// Names the policy in records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Free text. Has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What happens to tools, resources and prompts that nothing names.
    pub default: DefaultAction,
    /// Whether the document is enforced, or only tried.
    #[serde(skip_serializing_if = "Mode::is_enforce")]
    pub mode: Mode,
    /// Names and patterns of tools that are left out of lists and refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hide: Vec<String>,
    /// A rule without `action`, for every tool call besides the rule of the tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_tools: Option<Rule>,
    /// The rule of every tool that is named, or matched by a pattern.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, Rule>,
    /// The rule of every resource whose URI is named, or matched by a pattern.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, Rule>,
    /// The rule of every prompt that is named, or matched by a pattern.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub prompts: BTreeMap<String, Rule>,
    /// The rule of every tool that no entry in `tools` names or matches, by what it does.
    /// A category that is not there follows `default`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, Rule>"))]
    pub risk: BTreeMap<RiskCategory, Rule>,
    /// JSON-RPC methods that the language does not judge itself, by name or
    /// `"*"`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub methods: BTreeMap<String, MethodRule>,
    /// What becomes of the instructions that the server gives to models.
    #[serde(skip_serializing_if = "Instructions::is_pass")]
    pub instructions: Instructions,
    /// The definitions of tools, and the instructions, that somebody has approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pins: Option<Pins>,
}

impl PolicyDocument {
    /// The JSON Schema (draft 2020-12) of the document, by which editors complete
    /// and check it. A document that it accepts can still be refused when it is
    /// loaded, for a pattern or a regular expression that makes no sense, say.
    pub const JSON_SCHEMA: &str = include_str!("schema.json");

    /// A document that names nothing, so that its default decides everything.
    pub fn new(default: DefaultAction) -> Self {
        Self {
            schema: None,
            version: Version,
            name: None,
            description: None,
            default,
            mode: Mode::Enforce,
            hide: Vec::new(),
            all_tools: None,
            tools: BTreeMap::new(),
            resources: BTreeMap::new(),
            prompts: BTreeMap::new(),
            risk: BTreeMap::new(),
            methods: BTreeMap::new(),
            instructions: Instructions::Pass,
            pins: None,
        }
    }

    /// Every rule, wherever it stands.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Rule> {
        let sections = [&self.tools, &self.resources, &self.prompts];
        let rules = sections.into_iter().flat_map(BTreeMap::values);
        rules.chain(self.risk.values()).chain(&self.all_tools)
    }

    /// Whether any of it is only tried.
    pub(super) fn has_shadow(&self) -> bool {
        self.mode == Mode::Shadow || self.rules().any(|rule| rule.mode == Mode::Shadow)
    }

    /// The document as indented JSON, ready to be a policy file. It loads back
    /// as an equal document.
    ///
    /// ```
    /// use mcp_policy::{DefaultAction, PolicyDocument};
    ///
    /// let text = PolicyDocument::new(DefaultAction::Deny).to_json_string();
    /// assert_eq!(text, "{\n  \"version\": \"1\",\n  \"default\": \"deny\"\n}");
    /// ```
    pub fn to_json_string(&self) -> String {
        // Strings, lists and maps with string keys cannot fail to serialise;
        // and an empty text does not load as anything.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// The only version of the language there is: `"1"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version;

impl Version {
    pub(super) const TEXT: &'static str = "1";
}

#[cfg(test)]
impl schemars::JsonSchema for Version {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": Self::TEXT })
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Self::TEXT)
    }
}

/// What happens to tools, resources and prompts that no entry names.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DefaultAction {
    /// They pass.
    Allow,
    /// They are listed, and refused when they are used.
    Deny,
    /// They are left out of lists, and refused as if they did not exist.
    Hide,
}

/// What a policy says about one tool, resource or prompt, or about all that
/// match a pattern.
///
/// The default rule, `{}` in JSON, allows.
///
/// See [the page on policies](crate::docs::policy#rules).
///
/// ```
/// use mcp_policy::{Rule, RuleAction};
///
/// assert_eq!(Rule::allow(), Rule::default());
/// assert_eq!(Rule::hide().action, RuleAction::Hide);
/// assert_eq!(Rule::deny("Not at night.").reason.as_deref(), Some("Not at night."));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rule {
    /// What the rule does.
    #[serde(skip_serializing_if = "RuleAction::is_allow")]
    pub action: RuleAction,
    /// Text for the caller when the action refuses or asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Checks that must all hold, else what the rule names is refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Check>,
    /// Checks of which none may hold, else what the rule names is refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_if: Vec<Check>,
    /// How much may be used up in which time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// How many calls there may be in which time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// How many calls may be under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<MaxConcurrent>,
    /// Which calls wait until somebody has approved them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_approval: Option<RequireApproval>,
    /// Where a call of this tool names another tool that is called by it. Only
    /// in a rule of `tools`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwrap: Option<Unwrap>,
    /// Whether the rule is enforced, or only tried.
    #[serde(skip_serializing_if = "Mode::is_enforce")]
    pub mode: Mode,
    /// Free text. Has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Rule {
    /// The rule that allows: `{}`.
    pub fn allow() -> Self {
        Self::default()
    }

    /// A rule that refuses and tells the caller why.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self {
            action: RuleAction::Deny,
            reason: Some(reason.into()),
            ..Self::default()
        }
    }

    /// A rule that leaves what it names out of lists and refuses it as if it
    /// did not exist.
    pub fn hide() -> Self {
        Self {
            action: RuleAction::Hide,
            ..Self::default()
        }
    }

    /// Which calls wait for an approval, in whichever form that is written.
    pub(super) fn approval(&self) -> Option<Cow<'_, RequireApproval>> {
        let short = || RequireApproval {
            reason: self.reason.clone(),
            ..RequireApproval::default()
        };
        match self.action {
            RuleAction::RequireApproval => Some(Cow::Owned(short())),
            _ => self.require_approval.as_ref().map(Cow::Borrowed),
        }
    }
}

/// What a [`Rule`] does with what it names.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// Lets it pass. Leaving `action` out means the same.
    #[default]
    Allow,
    /// Refuses it; it stays in lists.
    Deny,
    /// Refuses it as if it did not exist.
    Hide,
    /// Lets it wait until an operator has approved it: short for a `require_approval`
    /// with the reason of the rule.
    RequireApproval,
}

impl RuleAction {
    // serde's `skip_serializing_if` passes a reference.
    fn is_allow(&self) -> bool {
        *self == Self::Allow
    }
}

/// Whether a document or a rule is enforced.
///
/// See [the page on policies](crate::docs::policy).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// It is worked out and recorded, and changes nothing.
    Shadow,
}

impl Mode {
    fn is_enforce(&self) -> bool {
        *self == Self::Enforce
    }
}

/// What becomes of the free text for models in the answers to `initialize` and
/// `server/discover`.
///
/// See [the page on policies](crate::docs::policy).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Instructions {
    /// It reaches the client.
    #[default]
    Pass,
    /// It is taken out.
    Strip,
}

impl Instructions {
    fn is_pass(&self) -> bool {
        *self == Self::Pass
    }
}

/// Conditions that a [`Rule`] looks at together.
///
/// See [the page on policies](crate::docs::policy#rules).
///
/// ```
/// use mcp_policy::{Action, Check, Condition, DefaultAction, Operator, Policy, PolicyDocument, Rule};
///
/// let mut cap = Check::new([Condition::new("args.amount", Operator::Lte, 500)]);
/// cap.on_deny = Some("Refunds above 500 need a person.".into());
/// let mut refund = Rule::allow();
/// refund.require.push(cap);
/// let mut document = PolicyDocument::new(DefaultAction::Deny);
/// document.tools.insert("refund".into(), refund);
/// let policy = Policy::try_from(document)?;
///
/// let small = Action::call_tool("refund").with_arguments(r#"{ "amount": 20 }"#)?;
/// assert!(policy.decide(&small).is_allowed());
///
/// let large = Action::call_tool("refund").with_arguments(r#"{ "amount": 501 }"#)?;
/// let refused = policy.decide(&large);
/// assert_eq!(refused.rule(), "/tools/refund/require/args.amount-lte");
/// assert_eq!(refused.reason(), Some("Refunds above 500 need a person."));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Check {
    /// The check holds if all of these do; so it does if there are none.
    pub conditions: Vec<Condition>,
    /// Text for the caller when the check refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_deny: Option<String>,
    /// The name of the check in its place, instead of one made of its
    /// conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Check {
    /// A check of these conditions.
    pub fn new(conditions: impl IntoIterator<Item = Condition>) -> Self {
        Self {
            conditions: conditions.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// What a value has to be.
///
/// See [the page on policies](crate::docs::policy#conditions), and [`Check`] for an
/// example.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Condition {
    /// Where the value is: `args.amount`, `caller.claims.team`.
    pub path: String,
    /// How it is compared.
    pub op: Operator,
    /// What it is compared with.
    pub value: Value,
}

impl Condition {
    /// A condition on the value at this path.
    pub fn new(path: impl Into<String>, op: Operator, value: impl Into<Value>) -> Self {
        Self {
            path: path.into(),
            op,
            value: value.into(),
        }
    }
}

/// Where a dispatcher is told which tool to call, and with what.
///
/// See [the page on policies](crate::docs::policy#rules).
///
/// ```
/// use mcp_policy::{Action, Policy};
///
/// let policy: Policy = r#"{
///     "version": "1",
///     "default": "deny",
///     "tools": {
///         "invoke": { "unwrap": { "name": "args.tool", "arguments": "args.input" } },
///         "read_file": {}
///     }
/// }"#.parse()?;
///
/// let inner = r#"{ "tool": "delete_file", "input": { "path": "a" } }"#;
/// let refused = policy.decide(&Action::call_tool("invoke").with_arguments(inner)?);
/// assert_eq!((refused.inner(), refused.rule()), (Some("delete_file"), "(default deny)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unwrap {
    /// The path of the name of the inner tool.
    pub name: String,
    /// The path of its arguments.
    pub arguments: String,
}

impl Unwrap {
    /// With the name of the inner tool at one path, and its arguments at the other.
    pub fn new(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            arguments: arguments.into(),
        }
    }
}

/// What `methods` says about one method.
///
/// See [the page on what happens to every message](crate::docs::verdicts).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MethodRule {
    /// The method passes.
    Allow,
    /// The method is refused, also when `"*"` allows the others.
    Deny,
}
