use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::super::pins::digest_of;

/// The definitions of tools, and the server's instructions, as somebody has seen and
/// approved them.
///
/// See [the page on policies](crate::docs::policy#pins).
///
/// A digest is `sha256:` and the hexadecimal SHA-256 of the whole object of the tool as
/// `tools/list` tells it, in one form whatever its white space and order: see
/// [`digest_of`](Self::digest_of).
///
/// ```
/// use mcp_policy::{DefaultAction, Pins, PolicyDocument};
///
/// let tool = r#"{ "name": "read", "inputSchema": { "type": "object" } }"#;
/// let mut pins = Pins::default();
/// pins.tools = Some([("read".to_owned(), Pins::digest_of(tool)?)].into());
/// let mut document = PolicyDocument::new(DefaultAction::Deny);
/// document.pins = Some(pins);
/// # Ok::<(), mcp_policy::DefinitionError>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pins {
    /// Whether what is not as it was approved is left out of lists, too.
    #[serde(skip_serializing_if = "OnDrift::is_deny")]
    pub on_drift: OnDrift,
    /// The digest of each tool that may be called. A tool that is not among them is
    /// refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<BTreeMap<String, String>>,
    /// The digest of the server's instructions to models: of the JSON string. Others are
    /// taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
}

impl Pins {
    /// The digest of the definition of a tool, or of instructions: of any JSON text.
    ///
    /// # Errors
    ///
    /// If it is no JSON, or one that two readers could take for different things.
    pub fn digest_of(definition: &str) -> Result<String, DefinitionError> {
        let digest = digest_of(definition.as_bytes()).ok_or(DefinitionError(()))?;
        Ok(format!("sha256:{}", crate::digest::hex(&digest)))
    }
}

/// What becomes of tools whose definition is not the approved one.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OnDrift {
    /// They are refused when they are called. Models still read what was changed.
    #[default]
    Deny,
    /// They are left out of lists as well.
    Hide,
}

impl OnDrift {
    pub(super) fn is_deny(&self) -> bool {
        *self == Self::Deny
    }
}

/// A text is no JSON that has one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefinitionError(());

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no JSON, or one that readers take for different things")
    }
}

impl std::error::Error for DefinitionError {}
