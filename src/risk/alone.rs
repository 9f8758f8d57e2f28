//! A tool by itself: what a list has beside it can be another page the next time.

use super::assessment::Assessment;
use super::category::RiskCategory;
use super::classify::classify;
use super::definition::ToolDefinition;
use super::siblings::Siblings;

/// What the name of a tool says of it.
pub(crate) fn of_name(name: &str) -> Assessment {
    classify(&ToolDefinition::named(name), &Siblings::default())
}

/// What the definition of a tool says of it.
pub(crate) fn of_definition(definition: &ToolDefinition) -> RiskCategory {
    classify(definition, &Siblings::default()).category()
}
