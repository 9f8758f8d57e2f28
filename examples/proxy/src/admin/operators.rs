//! Who may decide, and how they show who they are.

use std::{collections::HashMap, env, fmt, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::roles::{Power, Role};
use crate::{environment::TOKENS, failure::Failure, headers};

/// The environment variable with the roles of the operators. Without it all are admins.
pub(crate) const ROLES: &str = "MCP_POLICY_ADMIN_ROLES";

/// Characters that a token has at least: fewer could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Characters that a name has at most.
const LONGEST_NAME: usize = 64;

/// The operators, each with a name and a token of their own; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Operators(Arc<[Operator]>);

pub(super) struct Operator {
    pub(super) name: Arc<str>,
    pub(super) role: Role,
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
        let not_text = || "it is not UTF-8".to_owned();
        let roles = env::var_os(ROLES);
        let Some(text) = env::var_os(TOKENS) else {
            return match roles {
                None => Ok(None),
                Some(_) => Err(Failure::usage(format!(
                    "{ROLES} means nothing without {TOKENS}, which says who the operators are"
                ))),
            };
        };
        let text = text.to_str().ok_or_else(not_text);
        // What was set may be a token, and is not repeated.
        let mut all = text.and_then(Self::parse).map_err(|wrong| {
            Failure::usage(format!(
                "{TOKENS} has to read like `alice:TOKEN,bob:TOKEN`: {wrong}"
            ))
        })?;
        if let Some(roles) = roles {
            let roles = roles.to_str().ok_or_else(not_text);
            roles
                .and_then(|roles| assign(&mut all, roles))
                .map_err(|wrong| {
                    Failure::usage(format!(
                        "{ROLES} has to read like `alice:admin,bob:policy-manager,carol:viewer`: \
                         {wrong}"
                    ))
                })?;
        }
        Ok(Some(Self(all.into())))
    }

    /// One whose token is new, and that token.
    pub(super) fn generated() -> (Self, String) {
        let token = Uuid::new_v4().simple().to_string();
        let operator = Operator {
            name: "admin".into(),
            role: Role::Admin,
            token: token.clone(),
        };
        (Self([operator].into()), token)
    }

    /// The error says which of them is wrong by its number: what looks like a name may
    /// be a token.
    fn parse(text: &str) -> Result<Vec<Operator>, String> {
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
        Ok(all)
    }

    /// What all of them are called.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().map(|operator| &operator.name)
    }

    /// Whose token a request has.
    pub(super) fn who(&self, headers: &HeaderMap) -> Option<&Operator> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        self.whose(headers::bearer(value)?)
    }

    /// Whose token this is. All are looked at, each in the same time wherever it
    /// differs, so that nobody can find a token out by the clock.
    pub(super) fn whose(&self, token: &[u8]) -> Option<&Operator> {
        self.0.iter().fold(None, |found, operator| {
            let is_theirs = bool::from(operator.token.as_bytes().ct_eq(token));
            is_theirs.then_some(operator).or(found)
        })
    }
}

impl Operator {
    pub(super) fn may(&self, power: Power) -> bool {
        self.role.may(power)
    }

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
            role: Role::Admin,
            token: token.to_owned(),
        })
    }

    #[cfg(test)]
    pub(super) fn called(name: &str) -> Self {
        Self {
            name: name.into(),
            role: Role::Admin,
            token: "hunter2-hunter2-0".to_owned(),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.name.to_lowercase() == other.name.to_lowercase() || self.token == other.token
    }
}

/// Gives everybody the role that is said. Nobody is left out, so that a name that is
/// misspelled makes no admin.
fn assign(all: &mut [Operator], text: &str) -> Result<(), String> {
    let mut roles = HashMap::new();
    for (index, entry) in text.split(',').enumerate() {
        let number = index.saturating_add(1);
        let (name, role) = entry
            .split_once(':')
            .ok_or_else(|| format!("entry {number} has no `:` between a name and a role"))?;
        let role = Role::named(role.trim()).ok_or_else(|| {
            format!("entry {number} has a role that is none of admin, policy-manager and viewer")
        })?;
        let name = name.trim();
        if !all.iter().any(|operator| &*operator.name == name) {
            return Err(format!("entry {number} is about nobody of {TOKENS}"));
        }
        if roles.insert(name, role).is_some() {
            return Err(format!("entry {number} is about somebody who has a role"));
        }
    }
    for operator in all {
        operator.role = *roles
            .get(&*operator.name)
            .ok_or_else(|| format!("it does not say the role of `{}`", operator.name))?;
    }
    Ok(())
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
        operators.who(&headers).map(|operator| &*operator.name)
    }

    #[test]
    fn a_token_says_who_somebody_is() {
        let operators = Operators::parse(&format!("alice:{ONE}, bob:{OTHER}")).unwrap();
        let operators = Operators(operators.into());
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
    fn a_role_is_said_of_everybody_or_of_nobody() {
        let operators = || Operators::parse(&format!("alice:{ONE},bob:{OTHER}")).unwrap();
        let mut all = operators();
        assert!(all.iter().all(|operator| operator.role == Role::Admin));
        assign(&mut all, "bob:viewer, alice:policy-manager").unwrap();
        let roles: Vec<_> = all.iter().map(|operator| operator.role).collect();
        assert_eq!(roles, [Role::PolicyManager, Role::Viewer]);
        for (text, wrong) in [
            ("", "entry 1 has no `:`"),
            ("alice:admin", "the role of `bob`"),
            ("alice:admin,bob:Viewer", "entry 2 has a role that is none"),
            ("alice:admin,bob:", "entry 2 has a role that is none"),
            ("alice:admin,Bob:viewer", "entry 2 is about nobody"),
            ("alice:admin,alice:viewer", "entry 2 is about somebody"),
        ] {
            let found = assign(&mut operators(), text).unwrap_err();
            assert!(found.contains(wrong), "{text}: {found}");
        }
    }

    #[test]
    fn each_role_may_do_what_it_is_there_for() {
        use Power::{ChangePolicies, Decide, Govern};
        for (role, may) in [
            (Role::Viewer, [false, false, false]),
            (Role::PolicyManager, [false, true, false]),
            (Role::Admin, [true, true, true]),
        ] {
            let found = [Decide, ChangePolicies, Govern].map(|power| role.may(power));
            assert_eq!(found, may, "{role}");
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
