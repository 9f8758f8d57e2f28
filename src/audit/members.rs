//! What a record consists of, for whoever writes it: any serializer, or a
//! [line](super::line) of JSON.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::record::DecisionId;
use crate::policy::Truth;

/// What a member is called.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub(super) plain: &'static str,
    /// What stands in JSON between the member before and the value of this.
    pub(super) json: &'static str,
    /// The same with the quote at the beginning of the value.
    pub(super) json_quote: &'static str,
}

/// A [`Name`], of which nothing has to be escaped.
macro_rules! name {
    ($name:literal) => {
        $crate::audit::members::Name {
            plain: $name,
            json: concat!(",\"", $name, "\":"),
            json_quote: concat!(",\"", $name, "\":\""),
        }
    };
}

pub(super) use name;

/// Takes the members of a record, one after the other.
pub(super) trait Members {
    type Error;

    /// One of our own words, of which nothing has to be escaped.
    fn word(&mut self, name: Name, word: &'static str) -> Result<(), Self::Error>;

    fn text(&mut self, name: Name, text: &str) -> Result<(), Self::Error>;

    /// Without one there is no such member.
    fn text_if_any(&mut self, name: Name, text: Option<&str>) -> Result<(), Self::Error>;

    fn texts<'t>(
        &mut self,
        name: Name,
        texts: impl Iterator<Item = &'t str> + Clone,
    ) -> Result<(), Self::Error>;

    fn time(&mut self, name: Name, time: SystemTime) -> Result<(), Self::Error>;

    fn id(&mut self, name: Name, id: DecisionId) -> Result<(), Self::Error>;

    /// The places of conditions and what they came to.
    fn conditions(
        &mut self,
        name: Name,
        conditions: &[(impl AsRef<str>, Truth)],
    ) -> Result<(), Self::Error>;

    fn yes(&mut self, name: Name) -> Result<(), Self::Error>;

    /// Without one there is no such member.
    fn status_if_any(&mut self, name: Name, status: Option<u16>) -> Result<(), Self::Error>;

    fn microseconds(&mut self, name: Name, duration: Duration) -> Result<(), Self::Error>;
}

/// The time as records have it: RFC 3339 with microseconds.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    // Out of the range of four-digit years the clock is wrong anyway.
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn in_microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The members of a record as a map.
pub(super) fn as_map<S: Serializer>(
    serializer: S,
    members: impl FnOnce(&mut InMap<S::SerializeMap>) -> Result<(), S::Error>,
) -> Result<S::Ok, S::Error> {
    let mut map = InMap(serializer.serialize_map(None)?);
    members(&mut map)?;
    map.0.end()
}

/// A map that members are added to.
pub(super) struct InMap<M>(M);

impl<M: SerializeMap> Members for InMap<M> {
    type Error = M::Error;

    fn word(&mut self, name: Name, word: &'static str) -> Result<(), M::Error> {
        self.0.serialize_entry(name.plain, word)
    }

    fn text(&mut self, name: Name, text: &str) -> Result<(), M::Error> {
        self.0.serialize_entry(name.plain, text)
    }

    fn text_if_any(&mut self, name: Name, text: Option<&str>) -> Result<(), M::Error> {
        match text {
            Some(_) => self.0.serialize_entry(name.plain, &text),
            None => Ok(()),
        }
    }

    fn texts<'t>(
        &mut self,
        name: Name,
        texts: impl Iterator<Item = &'t str> + Clone,
    ) -> Result<(), M::Error> {
        self.0.serialize_entry(name.plain, &Texts(texts))
    }

    fn time(&mut self, name: Name, time: SystemTime) -> Result<(), M::Error> {
        self.0.serialize_entry(name.plain, &Rfc3339(time))
    }

    fn id(&mut self, name: Name, id: DecisionId) -> Result<(), M::Error> {
        self.0.serialize_entry(name.plain, &id)
    }

    fn conditions(
        &mut self,
        name: Name,
        conditions: &[(impl AsRef<str>, Truth)],
    ) -> Result<(), M::Error> {
        self.0.serialize_entry(name.plain, &Conditions(conditions))
    }

    fn yes(&mut self, name: Name) -> Result<(), M::Error> {
        self.0.serialize_entry(name.plain, &true)
    }

    fn status_if_any(&mut self, name: Name, status: Option<u16>) -> Result<(), M::Error> {
        match status {
            Some(_) => self.0.serialize_entry(name.plain, &status),
            None => Ok(()),
        }
    }

    fn microseconds(&mut self, name: Name, duration: Duration) -> Result<(), M::Error> {
        let microseconds = in_microseconds(duration);
        self.0.serialize_entry(name.plain, &microseconds)
    }
}

struct Texts<I>(I);

impl<'t, I: Iterator<Item = &'t str> + Clone> Serialize for Texts<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

struct Rfc3339(SystemTime);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = timestamp(self.0);
        serializer.collect_str(&format_args!("{time:.6}"))
    }
}

struct Conditions<'c, P>(&'c [(P, Truth)]);

impl<P: AsRef<str>> Serialize for Conditions<'_, P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Condition<'c> {
            place: &'c str,
            truth: Truth,
        }
        serializer.collect_seq(self.0.iter().map(|(place, truth)| Condition {
            place: place.as_ref(),
            truth: *truth,
        }))
    }
}
