//! Who has signed in.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::{HeaderMap, header::COOKIE};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::{
    operators::Operator,
    roles::{Power, Role},
};
use crate::{headers::CONSOLE_COOKIE, lock::lock};

/// How long somebody stays signed in.
const LIFETIME: Duration = Duration::from_secs(8 * 3600);
/// Sessions of an operator that there are at once: then the oldest ends. Nobody ends those of
/// others by signing in often.
const MOST_OF_ONE: usize = 32;

/// Sessions, by their ids. They end with the process.
pub(super) struct Sessions {
    all: Mutex<HashMap<String, Session>>,
    /// Browsers keep cookies by host, whatever the port: another proxy has another.
    cookie: String,
}

struct Session {
    visitor: Visitor,
    until: Instant,
}

/// Somebody who has signed in.
#[derive(Clone)]
pub(super) struct Visitor {
    id: String,
    pub(super) operator: Arc<str>,
    pub(super) role: Role,
    /// What the forms of this session have.
    pub(super) csrf: String,
}

impl Visitor {
    pub(super) fn may(&self, power: Power) -> bool {
        self.role.may(power)
    }

    /// For templates: whether they decide about what waits.
    pub(super) fn decides(&self) -> bool {
        self.may(Power::Decide)
    }

    /// For templates: whether they write policies.
    pub(super) fn changes_policies(&self) -> bool {
        self.may(Power::ChangePolicies)
    }

    /// For templates: whether they make tokens, lock down and forget what is counted.
    pub(super) fn governs(&self) -> bool {
        self.may(Power::Govern)
    }

    /// Whether it was a form of this session that holds this.
    pub(super) fn has_sent(&self, csrf: &str) -> bool {
        self.csrf.as_bytes().ct_eq(csrf.as_bytes()).into()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            cookie: format!("{CONSOLE_COOKIE}{}", &new_id()[..8]),
        }
    }
}

impl Sessions {
    /// Lets somebody in, and gives the cookie that says so.
    pub(super) fn begin(&self, operator: &Operator, now: Instant, is_secure: bool) -> String {
        let visitor = Visitor {
            id: new_id(),
            operator: Arc::clone(&operator.name),
            role: operator.role,
            csrf: new_id(),
        };
        let secure = if is_secure { "; Secure" } else { "" };
        let cookie = self.cookie(&visitor.id, LIFETIME) + secure;
        let mut all = self.all();
        all.retain(|_, session| session.until > now);
        let theirs = || {
            let all = all.values();
            all.filter(|session| session.visitor.operator == visitor.operator)
        };
        if theirs().count() >= MOST_OF_ONE {
            let oldest = theirs().min_by_key(|session| session.until);
            let oldest = oldest.map(|session| session.visitor.id.clone());
            oldest.map(|id| all.remove(&id));
        }
        let until = now + LIFETIME;
        all.insert(visitor.id.clone(), Session { visitor, until });
        cookie
    }

    /// Whose session the cookie of a request tells of.
    pub(super) fn visitor(&self, headers: &HeaderMap, now: Instant) -> Option<Visitor> {
        let id = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == self.cookie)?
            .1;
        self.find(id, now)
    }

    /// Whether it goes on.
    pub(super) fn lasts(&self, visitor: &Visitor, now: Instant) -> bool {
        self.find(&visitor.id, now).is_some()
    }

    fn find(&self, id: &str, now: Instant) -> Option<Visitor> {
        let all = self.all();
        let session = all.get(id).filter(|session| session.until > now)?;
        Some(session.visitor.clone())
    }

    /// Ends one, and gives the cookie that says so.
    pub(super) fn end(&self, visitor: &Visitor) -> String {
        self.all().remove(&visitor.id);
        self.cookie("", Duration::ZERO)
    }

    fn cookie(&self, value: &str, lives: Duration) -> String {
        let (name, seconds) = (&self.cookie, lives.as_secs());
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}")
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        lock(&self.all)
    }
}

/// Whoever has one is let in.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// One that nobody can guess.
fn new_id() -> String {
    Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        let (pair, _) = cookie.split_once(';').unwrap();
        HeaderMap::from_iter([(COOKIE, format!("a=b; {pair};c=d").parse().unwrap())])
    }

    #[test]
    fn a_session_lasts_until_somebody_leaves_or_it_is_over() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let begin = |name: &str| headers(&sessions.begin(&Operator::called(name), now, false));
        let (alice, bob) = (begin("alice"), begin("bob"));
        let visitor = sessions.visitor(&alice, now).unwrap();
        assert_eq!(&*visitor.operator, "alice");
        assert!(visitor.has_sent(&visitor.csrf) && !visitor.has_sent(""));
        let other = sessions.visitor(&bob, now).unwrap();
        assert!(!visitor.has_sent(&other.csrf));
        let gone = sessions.end(&visitor);
        assert!(gone.contains("Max-Age=0") && !sessions.lasts(&visitor, now));
        assert!(sessions.visitor(&alice, now).is_none());
        assert!(sessions.visitor(&headers(&gone), now).is_none());
        let almost = now + LIFETIME - Duration::from_secs(1);
        assert!(sessions.lasts(&other, almost));
        assert!(!sessions.lasts(&other, now + LIFETIME));
        assert!(sessions.visitor(&HeaderMap::new(), now).is_none());
    }

    #[test]
    fn scripts_do_not_get_the_cookie_and_other_sites_do_not_send_it() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let plain = sessions.begin(&Operator::called("alice"), now, false);
        for part in [
            "; HttpOnly",
            "; SameSite=Strict",
            "; Path=/",
            "; Max-Age=28800",
        ] {
            assert!(plain.contains(part), "{plain}");
        }
        assert!(!plain.contains("Secure"));
        let secure = sessions.begin(&Operator::called("alice"), now, true);
        assert!(secure.ends_with("; Secure"), "{secure}");
        assert_ne!(plain.split(';').next(), secure.split(';').next());
    }

    #[test]
    fn there_are_not_too_many() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let begin = |second| {
            let at = now + Duration::from_secs(second);
            headers(&sessions.begin(&Operator::called("alice"), at, false))
        };
        let bob = headers(&sessions.begin(&Operator::called("bob"), now, false));
        let first = begin(0);
        let second = begin(1);
        for more in 2..=32 {
            begin(more);
        }
        assert!(sessions.visitor(&bob, now).is_some());
        assert!(sessions.visitor(&first, now).is_none());
        assert!(sessions.visitor(&second, now).is_some());
        assert_eq!(sessions.all().len(), MOST_OF_ONE + 1);
        // What is over makes room.
        begin(LIFETIME.as_secs() + 300);
        assert_eq!(sessions.all().len(), 1);
    }
}
