//! What a document says of tools by what they do.

use std::collections::BTreeMap;

use super::super::diagnostic::Place;
use super::super::document::Rule;
use super::reader::{Elsewhere, Fields, Reader};
use super::rule::{OTHER_FIELDS, RULE};
use crate::json::tree::Node;
use crate::risk::RiskCategory;

const RISK: Fields = Fields {
    known: &[
        "read",
        "write",
        "unknown",
        "execute",
        "financial",
        "destructive",
    ],
    other_names: &[
        ("reads", "read"),
        ("low", "read"),
        ("medium", "write"),
        ("writes", "write"),
        ("high", "execute"),
        ("run", "execute"),
        ("exec", "execute"),
        ("money", "financial"),
        ("payment", "financial"),
        ("critical", "destructive"),
        ("delete", "destructive"),
        ("destroy", "destructive"),
        ("other", "unknown"),
        ("*", "unknown"),
        ("default", "unknown"),
    ],
    elsewhere: &[],
};

/// Of a rule in `risk`.
const RISK_RULE: Fields = Fields {
    known: RULE.known,
    other_names: OTHER_FIELDS,
    elsewhere: &[Elsewhere {
        field: "unwrap",
        message: "`risk` cannot unwrap: no path is the same in all tools",
        help: "write `unwrap` into the rule of each dispatcher, in `tools`",
    }],
};

impl Reader<'_> {
    pub(super) fn risk(
        &mut self,
        node: &Node,
        place: &Place<'_>,
        rules: &mut BTreeMap<RiskCategory, Rule>,
    ) {
        for member in self.object(node, place).unwrap_or_default() {
            let Ok(category) = member.key.parse::<RiskCategory>() else {
                self.no_field(&RISK, member, place);
                continue;
            };
            let at = Place::Member(place, &member.key);
            let rule = self.rule(&RISK_RULE, &member.value, &at);
            rules.insert(category, rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_the_categories() {
        assert_eq!(RISK.known, RiskCategory::ALL.map(RiskCategory::as_str));
    }
}
