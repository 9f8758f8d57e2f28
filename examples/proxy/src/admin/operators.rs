//! Who may decide, and how they show who they are.

use std::{env, fmt, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::{failure::Failure, headers};

/// The environment variable with the operators of `serve`: a command line can be seen
/// by others.
pub(crate) const TOKENS: &str = "MCP_POLICY_ADMIN_TOKENS";

/// The environment variable with the token of whoever types a command.
pub(crate) const TOKEN: &str = "MCP_POLICY_ADMIN_TOKEN";

/// Characters that a token has at least: fewer could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Characters that a name has at most.
const LONGEST_NAME: usize = 64;

/// The operators, each with a name and a token of their own; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Operators(Arc<[Operator]>);

struct Operator {
    name: Arc<str>,
    token: String,
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Operator").field(&self.name).finish()
    }
}

impl Operators {
    /// Those that the environment names; `None` if it does not say.
    pub(super) fn from_environment() -> Result<Option<Self>, Failure> {
        let Some(text) = env::var_os(TOKENS) else {
            return Ok(None);
        };
        let text = text.to_str().ok_or("it is not UTF-8".to_owned());
        // What was set may be a token, and is not repeated.
        match text.and_then(Self::parse) {
            Ok(operators) => Ok(Some(operators)),
            Err(wrong) => Err(Failure::usage(format!(
                "{TOKENS} has to read like `alice:TOKEN,bob:TOKEN`: {wrong}"
            ))),
        }
    }

    /// One whose token is new, and that token.
    pub(super) fn generated() -> (Self, String) {
        let token = Uuid::new_v4().simple().to_string();
        let operator = Operator {
            name: "admin".into(),
            token: token.clone(),
        };
        (Self([operator].into()), token)
    }

    /// The error says which of them is wrong by its number: what looks like a name may
    /// be a token.
    fn parse(text: &str) -> Result<Self, String> {
        let mut all: Vec<Operator> = Vec::new();
        for (index, entry) in text.split(',').enumerate() {
            let operator = Operator::parse(entry)
                .and_then(
                    |operator| match all.iter().find(|one| one.is_like(&operator)) {
                        None => Ok(operator),
                        Some(_) => Err("has the name or the token of another one"),
                    },
                )
                .map_err(|wrong| format!("operator {} {wrong}", index.saturating_add(1)))?;
            all.push(operator);
        }
        Ok(Self(all.into()))
    }

    /// Whose token a request has.
    pub(super) fn who(&self, headers: &HeaderMap) -> Option<&Arc<str>> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        self.whose(headers::bearer(value)?)
    }

    /// Whose token this is. All are looked at, each in the same time wherever it
    /// differs, so that nobody can find a token out by the clock.
    pub(super) fn whose(&self, token: &[u8]) -> Option<&Arc<str>> {
        self.0.iter().fold(None, |found, operator| {
            let is_theirs = bool::from(operator.token.as_bytes().ct_eq(token));
            is_theirs.then_some(&operator.name).or(found)
        })
    }
}

impl Operator {
    fn parse(entry: &str) -> Result<Self, &'static str> {
        let (name, token) = entry
            .split_once(':')
            .ok_or("has no `:` between a name and a token")?;
        let name = name.trim();
        let token = token.trim();
        let is_visible = |character: char| match character {
            ' '..='~' => true,
            _ => character.is_alphanumeric(),
        };
        if !name.chars().any(char::is_alphanumeric) {
            return Err("has no name");
        }
        if !name.chars().all(is_visible) || name.chars().count() > LONGEST_NAME {
            return Err("has a name that is too long, or is not made of what can be seen");
        }
        if token.len() < SHORTEST_TOKEN {
            return Err("has a token of fewer than 16 characters");
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a token that is not made of visible ASCII characters");
        }
        Ok(Self {
            name: name.into(),
            token: token.to_owned(),
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        self.name.to_lowercase() == other.name.to_lowercase() || self.token == other.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "hunter2-hunter2-1";
    const OTHER: &str = "hunter2:hunter2-2";

    fn who<'a>(operators: &'a Operators, values: &[&str]) -> Option<&'a str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        operators.who(&headers).map(|name| &**name)
    }

    #[test]
    fn a_token_says_who_somebody_is() {
        let operators = Operators::parse(&format!("alice:{ONE}, bob:{OTHER}")).unwrap();
        assert_eq!(who(&operators, &[&format!("Bearer {ONE}")]), Some("alice"));
        assert_eq!(who(&operators, &[&format!("bearer {OTHER}")]), Some("bob"));
        let right = format!("Bearer {ONE}");
        for wrong in [
            &[] as &[&str],
            &[ONE],
            &["Bearer"],
            &["Bearer "],
            &["Basic hunter2-hunter2-1"],
            &["Bearer hunter2-hunter2-"],
            &["Bearer hunter2-hunter2-12"],
            &["Bearer HUNTER2-HUNTER2-1"],
            &[&right, &right],
        ] {
            assert_eq!(who(&operators, wrong), None, "{wrong:?}");
        }
        assert!(!format!("{operators:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_wrong_is_said_without_a_token() {
        for (text, wrong) in [
            (String::new(), "operator 1 has no `:`"),
            (ONE.to_owned(), "operator 1 has no `:`"),
            (format!("alice:{ONE},"), "operator 2 has no `:`"),
            (format!(":{ONE}"), "operator 1 has no name"),
            (format!(" \u{200b}:{ONE}"), "operator 1 has no name"),
            (format!("a\u{202e}b:{ONE}"), "what can be seen"),
            (format!("{}:{ONE}", "a".repeat(65)), "too long"),
            ("alice:hunter2-hunter2".into(), "fewer than 16"),
            ("alice:hunter2 hunter2 hunter2".into(), "visible ASCII"),
            (format!("a:{ONE},A:{OTHER}"), "operator 2 has the name"),
            (format!("a:{ONE},b:{ONE}"), "operator 2 has the name"),
        ] {
            let found = Operators::parse(&text).unwrap_err();
            assert!(found.contains(wrong), "{text}: {found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }

    #[test]
    fn a_generated_token_is_new_each_time() {
        let (operators, token) = Operators::generated();
        assert_eq!(
            who(&operators, &[&format!("Bearer {token}")]),
            Some("admin")
        );
        assert!(token.len() >= SHORTEST_TOKEN);
        assert_ne!(Operators::generated().1, token);
    }
}
