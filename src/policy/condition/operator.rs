use std::fmt;

use serde::Serialize;

/// How a condition compares what it finds with its own value.
///
/// Displays and serialises as the word that a document has for it. See
/// [the page on policies](crate::docs::policy#conditions).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// `eq`: the same value.
    Eq,
    /// `neq`: not the same value.
    Neq,
    /// `lt`: a smaller number.
    Lt,
    /// `lte`: a number that is not greater.
    Lte,
    /// `gt`: a greater number.
    Gt,
    /// `gte`: a number that is not smaller.
    Gte,
    /// `in`: the same as one of a list.
    In,
    /// `not_in`: the same as none of a list.
    NotIn,
    /// `regex`: a string in which a regular expression is found.
    Regex,
    /// `contains`: a string with this substring, or a list with this element.
    Contains,
    /// `exists`: there, and not null.
    Exists,
    /// `starts_with`: a string that begins so.
    StartsWith,
    /// `ends_with`: a string that ends so.
    EndsWith,
    /// `keys_in`: an object without any other keys.
    KeysIn,
    /// `length_lte`: a string, list or object that is no longer.
    LengthLte,
    /// `path_within`: a path inside one of these folders.
    PathWithin,
    /// `host_in`: a URL on one of these hosts.
    HostIn,
}

impl Operator {
    /// Every operator, in the order in which they are explained.
    pub(in crate::policy) const ALL: [Self; 17] = [
        Self::Eq,
        Self::Neq,
        Self::Lt,
        Self::Lte,
        Self::Gt,
        Self::Gte,
        Self::In,
        Self::NotIn,
        Self::Regex,
        Self::Contains,
        Self::Exists,
        Self::StartsWith,
        Self::EndsWith,
        Self::KeysIn,
        Self::LengthLte,
        Self::PathWithin,
        Self::HostIn,
    ];

    /// The word for it in a document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::In => "in",
            Self::NotIn => "not_in",
            Self::Regex => "regex",
            Self::Contains => "contains",
            Self::Exists => "exists",
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
            Self::KeysIn => "keys_in",
            Self::LengthLte => "length_lte",
            Self::PathWithin => "path_within",
            Self::HostIn => "host_in",
        }
    }

    /// The operator of that name.
    pub(in crate::policy) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_everywhere() {
        for operator in Operator::ALL {
            let name = operator.as_str();
            assert_eq!(Operator::from_name(name), Some(operator));
            assert_eq!(serde_json::to_value(operator).unwrap(), name);
            assert_eq!(operator.to_string(), name);
        }
        assert_eq!(Operator::from_name("EQ"), None);
    }
}
