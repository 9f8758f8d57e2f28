//! Whether what a server says of its tools is what somebody has approved.

use std::collections::HashMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use super::document::{OnDrift, Pins};
use super::risk::SeenRisk;
use crate::digest::from_hex;
use crate::json::{Profile, Reader, canonical};

/// The SHA-256 of what a JSON text says.
pub(crate) type DefinitionDigest = [u8; 32];

/// What a digest begins with in a document.
const PREFIX: &str = "sha256:";

/// The digest of a JSON text, whatever its white space and the order of its members;
/// `None` if readers could take it for different things.
pub(crate) fn digest_of(text: &[u8]) -> Option<DefinitionDigest> {
    let mut reader = Reader::new(text, Profile::MESSAGE).ok()?;
    let mut out = Vec::with_capacity(text.len());
    canonical::value(&mut reader, &mut out).ok()?;
    reader.finish().ok()?;
    Some(Sha256::digest(&out).into())
}

/// The digest that a document names.
pub(super) fn read_digest(text: &str) -> Option<DefinitionDigest> {
    let digits = text.strip_prefix(PREFIX)?;
    let is_lower = digits.bytes().all(|byte| !byte.is_ascii_uppercase());
    from_hex(digits).filter(|_| is_lower)
}

/// What was last seen of the definitions of a server's tools.
pub(crate) trait Definitions {
    /// The digest of the definition of this tool; `None` if none was seen.
    fn digest(&self, tool: &str) -> Option<DefinitionDigest>;

    /// How dangerous the tool is by its name and its definition.
    fn risk(&self, tool: &str) -> SeenRisk;
}

/// Where it can be looked up what was seen.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen<'a>(pub(super) Option<&'a dyn Definitions>);

impl Seen<'_> {
    fn digest(self, tool: &str) -> Option<DefinitionDigest> {
        self.0?.digest(tool)
    }

    pub(super) fn risk(self, tool: &str) -> SeenRisk {
        self.0.map_or(SeenRisk::Nothing, |seen| seen.risk(tool))
    }
}

/// What was seen is no part of an action.
impl PartialEq for Seen<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen(..)")
    }
}

/// The pins of a document.
#[derive(Debug)]
pub(super) struct Compiled {
    hides: bool,
    tools: Option<HashMap<Box<str>, DefinitionDigest>>,
    instructions: Option<DefinitionDigest>,
}

/// What pins say of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinned {
    /// It is as it was approved, or has not been seen.
    Fits,
    /// It was never approved.
    New,
    /// It was something else when it was approved.
    Drifted,
}

impl Compiled {
    /// Of a document whose digests were read.
    pub(super) fn of(pins: &Pins) -> Self {
        let digest = |text: &String| read_digest(text).unwrap_or_default();
        let tools = pins.tools.as_ref().map(|tools| {
            let tools = tools.iter();
            tools
                .map(|(name, text)| (name.as_str().into(), digest(text)))
                .collect()
        });
        Self {
            hides: pins.on_drift == OnDrift::Hide,
            tools,
            instructions: pins.instructions.as_ref().map(digest),
        }
    }

    /// Whether anything is said of tools.
    pub(super) fn pins_tools(&self) -> bool {
        self.tools.is_some()
    }

    /// Whether this tool is among those that somebody has approved.
    pub(super) fn pins(&self, tool: &str) -> bool {
        let tools = self.tools.as_ref();
        tools.is_some_and(|tools| tools.contains_key(tool))
    }

    /// Whether a tool that does not fit is left out of lists.
    pub(super) fn hides(&self) -> bool {
        self.hides
    }

    pub(super) fn of_tool(&self, name: &str, seen: Seen<'_>) -> Pinned {
        let Some(tools) = &self.tools else {
            return Pinned::Fits;
        };
        match (tools.get(name), seen.digest(name)) {
            (None, _) => Pinned::New,
            (Some(pin), Some(seen)) if *pin != seen => Pinned::Drifted,
            (Some(_), _) => Pinned::Fits,
        }
    }

    /// Whether these instructions are the approved ones, or any may be shown.
    pub(super) fn shows_instructions(&self, text: &[u8]) -> bool {
        self.instructions
            .is_none_or(|pin| digest_of(text) == Some(pin))
    }

    pub(super) fn pins_instructions(&self) -> bool {
        self.instructions.is_some()
    }
}
