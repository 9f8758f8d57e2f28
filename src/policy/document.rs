use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// A policy document as a value: what a policy file says, field by field.
///
/// Build one in Rust and turn it into a [`Policy`](super::Policy) with
/// `Policy::try_from`, which checks it like any other document; or look at the
/// one a policy was made from with [`Policy::document`](super::Policy::document).
/// Maps are ordered by name, so that the JSON text of a document does not
/// depend on the order in which it was put together. See section 1 of the
/// policy language.
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
pub struct PolicyDocument {
    /// `$schema`: where an editor finds the schema. Has no effect.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    version: Version,
    /// Names the policy in records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Free text. Has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What happens to tools, resources and prompts that nothing names.
    pub default: DefaultAction,
    /// Names and patterns of tools that are left out of lists and refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hide: Vec<String>,
    /// The rule of every tool that is named, or matched by a pattern.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, Rule>,
    /// The rule of every resource whose URI is named, or matched by a pattern.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, Rule>,
    /// The rule of every prompt that is named, or matched by a pattern.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub prompts: BTreeMap<String, Rule>,
    /// JSON-RPC methods that the language does not judge itself, by name or
    /// `"*"`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub methods: BTreeMap<String, MethodRule>,
}

impl PolicyDocument {
    /// A document that names nothing, so that its default decides everything.
    pub fn new(default: DefaultAction) -> Self {
        Self {
            schema: None,
            version: Version,
            name: None,
            description: None,
            default,
            hide: Vec::new(),
            tools: BTreeMap::new(),
            resources: BTreeMap::new(),
            prompts: BTreeMap::new(),
            methods: BTreeMap::new(),
        }
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

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Self::TEXT)
    }
}

/// What happens to tools, resources and prompts that no entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
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
/// The default rule, `{}` in JSON, allows. See section 2 of the policy
/// language.
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
pub struct Rule {
    /// What the rule does.
    #[serde(skip_serializing_if = "RuleAction::is_allow")]
    pub action: RuleAction,
    /// Text for the caller when the rule refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
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
            description: None,
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
}

/// What a [`Rule`] does with what it names.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// Lets it pass. Leaving `action` out means the same.
    #[default]
    Allow,
    /// Refuses it; it stays in lists.
    Deny,
    /// Refuses it as if it did not exist.
    Hide,
}

impl RuleAction {
    // serde's `skip_serializing_if` passes a reference.
    fn is_allow(&self) -> bool {
        *self == Self::Allow
    }
}

/// What `methods` says about one method. See section 6 of the policy language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodRule {
    /// The method passes.
    Allow,
    /// The method is refused, also when `"*"` allows the others.
    Deny,
}
