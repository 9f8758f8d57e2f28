//! Conditions in few words.

use mcp_policy::Condition;
use serde_json::Value;

use crate::names::shown;

/// Values of a condition that are told.
const VALUES: usize = 12;

/// What all of them ask.
pub(crate) fn conditions(conditions: &[Condition]) -> String {
    let one = |condition: &Condition| {
        let path = shown(&condition.path);
        let value = match &condition.value {
            Value::Array(values) => {
                let told: Vec<String> = values.iter().take(VALUES).map(plain).collect();
                let more = values.len().saturating_sub(VALUES);
                let behind = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                format!("[{}{behind}]", told.join(", "))
            }
            value => plain(value),
        };
        format!("{path} {} {value}", condition.op)
    };
    let all: Vec<String> = conditions.iter().map(one).collect();
    all.join(" and ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        other => shown(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_values_some_are_told() {
        let values: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let condition = Condition::new("args.a\u{202e}", mcp_policy::Operator::In, values);
        let told = conditions(&[condition]);
        assert_eq!(
            told,
            "args.a\\u{202e} in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 88 more]"
        );
    }
}
