//! How dangerous a tool is, told from its definition.
//!
//! Nothing here asks anybody: the same definition is told the same way everywhere.
//! A tool is cut into words ([`words`]) that say something ([`lexicon`]); what the
//! name says ([`name`]), what the description begins with ([`text`]) and what the
//! arguments tell ([`arguments`]) are put together in [`classify()`].

mod alone;
mod arguments;
mod assessment;
mod category;
mod classify;
mod collisions;
mod definition;
mod lexicon;
mod name;
mod schema;
mod siblings;
#[cfg(test)]
mod tests;
mod text;
mod warnings;
mod words;

pub(crate) use self::alone::{of_definition, of_name};
pub use self::assessment::{ActionRisk, Assessment, Confidence, Evidence, EvidencePlace};
pub use self::category::{RiskCategory, RiskSeverity};
pub use self::classify::classify;
pub use self::collisions::{Collision, CollisionKind, ToolOfServer, collisions};
pub use self::definition::ToolDefinition;
pub use self::siblings::Siblings;
pub use self::warnings::{DefinitionWarning, DefinitionWarningKind, definition_warnings};
