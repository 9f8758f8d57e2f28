//! What a sealed request state says.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::keys::{NONCE, RequestStateKeys};
use crate::approval::ApprovalId;
use crate::clock::Moment;

/// What every sealed state begins with, and nothing else should.
const PREFIX: &str = "mcp-policy.1.";
/// How long a call may take, from its first round on.
const LONGEST: Duration = Duration::from_secs(600);
/// By so much the clocks of two replicas may differ.
const SKEW: Duration = Duration::from_secs(60);
/// Rounds that a call may have: clients give up after as many.
const MOST_ROUNDS: u8 = 10;
/// Bytes of a server's own state that are sealed with ours.
const LONGEST_INNER: usize = 64 * 1024;

/// Whether a request state says that we have sealed it.
pub(crate) fn is_sealed(state: &str) -> bool {
    state.starts_with(PREFIX)
}

/// Between whom a call takes its rounds: a state of others cannot be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parties<'a> {
    pub(crate) server: &'a str,
    pub(crate) caller: &'a str,
    pub(crate) method: &'a str,
}

impl Parties<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [PREFIX, self.server, self.caller, self.method] {
            // With its length before it, nothing of a part can be taken for a part of
            // the next.
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

/// How far a call is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// It waits for an approval.
    Waits {
        #[serde(with = "as_text")]
        approval: ApprovalId,
        /// Whether the client was asked to approve it.
        asked: bool,
    },
    /// It was approved and charged, as far as that was needed, and the server asks for
    /// more.
    Goes,
}

/// Which round of a call it is, and when the call began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Round {
    number: u8,
    /// Seconds since 1970.
    began: u64,
}

impl Round {
    /// The round of a call that brings nothing back.
    pub(crate) fn first(now: Moment) -> Self {
        Self {
            number: 1,
            began: seconds(now),
        }
    }

    /// The one after it; `None` if there are no more, or it would be too late.
    pub(crate) fn next(self, now: Moment) -> Option<Self> {
        let number = self.number.checked_add(1)?;
        (number <= MOST_ROUNDS && !self.is_over(now)).then_some(Self { number, ..self })
    }

    fn is_over(self, now: Moment) -> bool {
        let now = seconds(now);
        // A clock that was set back must not make a call last.
        let is_to_come = self.began > now.saturating_add(SKEW.as_secs());
        is_to_come || now.saturating_sub(self.began) > LONGEST.as_secs()
    }
}

fn seconds(now: Moment) -> u64 {
    now.system
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// What is remembered from one round to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) step: Step,
    /// The round that brings it back.
    pub(crate) round: Round,
    /// Of the call as it was made.
    pub(crate) digest: String,
    /// The rule that let it go, or that it waits by.
    pub(crate) rule: String,
    /// What the server gave for the next round: the JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inner: Option<String>,
}

/// A state that a client brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) state: State,
    /// Tells it from all other states.
    pub(crate) nonce: [u8; NONCE],
}

/// Why a state is not gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOurs {
    /// It was changed, or sealed for others, or with another key.
    Foreign,
    /// It is too old.
    Expired,
}

impl State {
    /// The text that the client is to bring back; `None` if there is too much to
    /// remember.
    pub(crate) fn seal(&self, keys: &RequestStateKeys, parties: Parties<'_>) -> Option<String> {
        if self
            .inner
            .as_ref()
            .is_some_and(|inner| inner.len() > LONGEST_INNER)
        {
            return None;
        }
        let text = serde_json::to_vec(self).ok()?;
        let (nonce, sealed) = keys.seal(&text, &parties.to_bytes())?;
        let bytes = [&nonce[..], &sealed].concat();
        Some(PREFIX.to_owned() + &URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a sealed text says.
    pub(crate) fn open(
        text: &str,
        keys: &RequestStateKeys,
        parties: Parties<'_>,
        now: Moment,
    ) -> Result<Opened, NotOurs> {
        let open = || {
            let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
            let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
            let text = keys.open(*nonce, sealed, &parties.to_bytes())?;
            let state = serde_json::from_slice(&text).ok()?;
            Some(Opened {
                state,
                nonce: *nonce,
            })
        };
        let opened = open().ok_or(NotOurs::Foreign)?;
        match opened.state.round.is_over(now) {
            true => Err(NotOurs::Expired),
            false => Ok(opened),
        }
    }
}

mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::approval::ApprovalId;

    pub(super) fn serialize<S: Serializer>(
        id: &ApprovalId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<ApprovalId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
