//! The names that two policies mention: all that can be compared without calls.

use std::collections::{BTreeMap, BTreeSet};

use mcp_policy::{ListedTools, PolicyDocument, RiskCategory};
use serde_json::json;

use crate::{
    called::Target,
    verdicts::{
        Difference,
        compare::{Compared, Pair},
        label,
    },
};

/// Stands for all names that neither policy mentions.
const OTHER: &str = "some-other-name";

pub(super) fn compare(pair: Pair<'_>) -> Difference {
    let mut compared = Vec::new();
    for target in [
        Target::Tool,
        Target::Prompt,
        Target::Resource,
        Target::Method,
    ] {
        let pair = pair.about(target);
        let documents = [pair.old.document(), pair.new.document()];
        let keys: BTreeSet<&str> = documents.iter().flat_map(|own| keys(own, target)).collect();
        for key in keys {
            let (name, is_example) = one_of(key, target);
            let mut label = label(target, &name);
            if is_example {
                label += " for example";
            }
            compared.push(pair.decide_name(&target.action(&name), label));
        }
        if target == Target::Tool && documents.iter().any(|own| !own.risk.is_empty()) {
            compared.extend(RiskCategory::ALL.map(|category| by_risk(pair, category)));
            continue;
        }
        let other = match target {
            Target::Resource => format!("other://{OTHER}/"),
            _ => OTHER.to_owned(),
        };
        let label = format!("any other {}", target.noun());
        compared.push(pair.decide_name(&target.action(&other), label));
    }
    Difference {
        noun: "name",
        compared,
        skipped: Vec::new(),
        note: None,
    }
}

/// A tool that does this, by name and definition.
fn by_risk(pair: Pair<'_>, category: RiskCategory) -> Compared {
    let name = example(category);
    let tools = ListedTools::of(&[json!({ "name": name })]);
    let pair = Pair {
        tools: &tools,
        knows_tools: true,
        ..pair
    };
    let label = format!("tool `{name}` for example, which is {category}");
    pair.decide_name(&Target::Tool.action(name), label)
}

/// A name that says no more than this.
fn example(category: RiskCategory) -> &'static str {
    match category {
        RiskCategory::Read => "get_some_other_thing",
        RiskCategory::Write => "update_some_other_thing",
        RiskCategory::Execute => "run_some_other_thing",
        RiskCategory::Financial => "pay_some_other_invoice",
        RiskCategory::Destructive => "delete_some_other_thing",
        _ => OTHER,
    }
}

fn keys(document: &PolicyDocument, target: Target) -> Vec<&str> {
    match target {
        Target::Tool => document
            .tools
            .keys()
            .chain(&document.hide)
            .chain(pinned(document))
            .map(String::as_str)
            .collect(),
        Target::Prompt => document.prompts.keys().map(String::as_str).collect(),
        Target::Resource => document.resources.keys().map(String::as_str).collect(),
        Target::Method => document.methods.keys().map(String::as_str).collect(),
    }
}

fn pinned(document: &PolicyDocument) -> impl Iterator<Item = &String> {
    let pins = document.pins.as_ref();
    let tools = pins.and_then(|pins| pins.tools.as_ref());
    tools.into_iter().flat_map(BTreeMap::keys)
}

/// The name, or one that the pattern matches, and whether it is only an example.
fn one_of(key: &str, target: Target) -> (String, bool) {
    let mut name = String::new();
    let mut is_pattern = false;
    let mut rest = key.chars();
    while let Some(c) = rest.next() {
        match c {
            // Methods have no patterns but this one.
            '*' => {
                name.push_str("any");
                is_pattern = true;
            }
            '\\' if target != Target::Method => name.extend(rest.next()),
            _ => name.push(c),
        }
    }
    (name, is_pattern)
}

#[cfg(test)]
mod tests {
    use mcp_policy::{Siblings, ToolDefinition, classify};

    use super::*;

    #[test]
    fn the_examples_are_what_they_are_called() {
        for category in RiskCategory::ALL {
            let tool = ToolDefinition::named(example(category));
            let found = classify(&tool, &Siblings::default());
            assert_eq!(found.category(), category);
        }
    }
}
