//! What a sealed request state says.

use std::fmt;
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
/// The same of one that another layer behind this one has sealed, with the server's in it.
const LONGEST_SEALED: usize = 4 * LONGEST_INNER;

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
        /// Whether it has been to the page that it was sent to.
        opened: bool,
    },
    /// The server asks for more.
    Goes {
        /// Whether somebody has approved it.
        approved: bool,
        /// Whether it was charged.
        charged: bool,
    },
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

    /// Whether what is of this round is too old.
    pub(crate) fn is_over(self, now: Moment) -> bool {
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
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Without what the server gave.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("step", &self.step)
            .field("round", &self.round)
            .finish_non_exhaustive()
    }
}

/// A text that a client is to bring back.
pub(crate) struct Sealed {
    pub(crate) text: String,
    /// Tells it from all other states.
    pub(crate) nonce: [u8; NONCE],
}

/// A state that a client brought back.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) state: State,
    /// Tells it from all other states.
    pub(crate) nonce: [u8; NONCE],
}

/// Without what it is told apart by.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl State {
    /// What the client is to bring back; `None` if there is too much to remember.
    pub(crate) fn seal(&self, keys: &RequestStateKeys, parties: Parties<'_>) -> Option<Sealed> {
        let inner = self.inner.as_deref().unwrap_or_default();
        let longest = match is_sealed(inner.trim_start_matches('"')) {
            true => LONGEST_SEALED,
            false => LONGEST_INNER,
        };
        if inner.len() > longest {
            return None;
        }
        let text = serde_json::to_vec(self).ok()?;
        let (nonce, sealed) = keys.seal(&text, &parties.to_bytes())?;
        let bytes = [&nonce[..], &sealed].concat();
        let text = PREFIX.to_owned() + &URL_SAFE_NO_PAD.encode(bytes);
        Some(Sealed { text, nonce })
    }

    /// What a sealed text says, however old it is; `None` if it was changed, or sealed
    /// for others, or with another key.
    pub(crate) fn open(
        text: &str,
        keys: &RequestStateKeys,
        parties: Parties<'_>,
    ) -> Option<Opened> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let text = keys.open(*nonce, sealed, &parties.to_bytes())?;
        let state = serde_json::from_slice(&text).ok()?;
        Some(Opened {
            state,
            nonce: *nonce,
        })
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const PARTIES: Parties<'_> = Parties {
        server: "files",
        caller: "alice",
        method: "tools/call",
    };

    fn at(seconds: u64) -> Moment {
        Moment {
            instant: Instant::now(),
            system: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    fn state() -> State {
        State {
            step: Step::Waits {
                approval: "00112233445566778899aabbccddeeff".parse().unwrap(),
                asked: true,
                opened: false,
            },
            round: Round::first(at(1_000)),
            digest: "d".to_owned(),
            rule: "/tools/x".to_owned(),
            inner: Some("\"theirs\"".to_owned()),
        }
    }

    #[test]
    fn what_is_sealed_is_told_to_nobody_and_comes_back_as_it_was() {
        let keys = RequestStateKeys::new([7; 32]);
        let [one, other] = [(); 2].map(|()| state().seal(&keys, PARTIES).unwrap().text);
        assert!(is_sealed(&one) && one != other);
        let bytes = URL_SAFE_NO_PAD.decode(&one[PREFIX.len()..]).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("theirs"));
        let opened = State::open(&one, &keys, PARTIES).unwrap();
        assert_eq!(opened.state, state());
        let again = State::open(&one, &keys, PARTIES).unwrap();
        assert_eq!(again.nonce, opened.nonce);
        let other = State::open(&other, &keys, PARTIES).unwrap();
        assert_ne!(other.nonce, opened.nonce);
    }

    #[test]
    fn it_is_only_for_those_between_whom_it_was_sealed() {
        let keys = RequestStateKeys::new([7; 32]);
        let sealed = state().seal(&keys, PARTIES).unwrap().text;
        let others = [
            Parties {
                server: "file",
                caller: "salice",
                ..PARTIES
            },
            Parties {
                caller: "Alice",
                ..PARTIES
            },
            Parties {
                method: "prompts/get",
                ..PARTIES
            },
        ];
        for parties in others {
            let opened = State::open(&sealed, &keys, parties);
            assert_eq!(opened, None, "{parties:?}");
        }
        let other = RequestStateKeys::new([8; 32]);
        assert_eq!(State::open(&sealed, &other, PARTIES), None);
    }

    #[test]
    fn it_lasts_ten_minutes_from_the_first_round_and_clocks_may_differ_a_little() {
        let round = state().round;
        for (now, is_over) in [(1_600, false), (1_601, true), (940, false), (939, true)] {
            assert_eq!(round.is_over(at(now)), is_over, "{now}");
        }
    }

    #[test]
    fn debugging_shows_nothing_of_what_a_client_or_a_server_said() {
        let keys = RequestStateKeys::new([7; 32]);
        let sealed = state().seal(&keys, PARTIES).unwrap().text;
        let opened = State::open(&sealed, &keys, PARTIES).unwrap();
        assert!(!format!("{opened:?}").contains("theirs"), "{opened:?}");
    }

    #[test]
    fn there_are_ten_rounds() {
        let mut round = Some(Round::first(at(0)));
        let mut rounds = 0;
        while let Some(this) = round {
            rounds += 1;
            round = this.next(at(0));
        }
        assert_eq!(rounds, 10);
        assert_eq!(Round::first(at(0)).next(at(601)), None);
    }

    #[test]
    fn a_servers_state_that_is_too_long_is_not_sealed() {
        let keys = RequestStateKeys::new([7; 32]);
        let of = |length| State {
            inner: Some("x".repeat(length)),
            ..state()
        };
        assert!(of(LONGEST_INNER).seal(&keys, PARTIES).is_some());
        assert!(of(LONGEST_INNER + 1).seal(&keys, PARTIES).is_none());
        // What another layer has sealed has one in it.
        let of = |length| State {
            inner: Some(format!("\"{PREFIX}{}\"", "x".repeat(length))),
            ..state()
        };
        let own = PREFIX.len() + 2;
        assert!(of(LONGEST_SEALED - own).seal(&keys, PARTIES).is_some());
        assert!(of(LONGEST_SEALED - own + 1).seal(&keys, PARTIES).is_none());
    }

    #[test]
    fn random_keys_are_nobody_elses() {
        let [one, other] = [(), ()].map(|()| RequestStateKeys::random().unwrap());
        let sealed = state().seal(&one, PARTIES).unwrap().text;
        assert!(State::open(&sealed, &one, PARTIES).is_some());
        assert!(State::open(&sealed, &other, PARTIES).is_none());
    }

    #[test]
    fn keys_are_read_from_text_and_not_shown() {
        let (one, other) = ("0a".repeat(32), "0B".repeat(32));
        let keys: RequestStateKeys = format!("{one}, {other}").parse().unwrap();
        assert_eq!(format!("{keys:?}"), "RequestStateKeys { keys: 2, .. }");
        let sealed = state().seal(&RequestStateKeys::new([0x0b; 32]), PARTIES);
        assert!(State::open(&sealed.unwrap().text, &keys, PARTIES).is_some());
        let sealed = state().seal(&keys, PARTIES).unwrap().text;
        let first = RequestStateKeys::new([0x0a; 32]);
        assert!(State::open(&sealed, &first, PARTIES).is_some());
        let many = [one.as_str(); 9].join(",");
        for wrong in [
            "",
            ",",
            &one[1..],
            &format!("{one},"),
            &one.replace('0', "g"),
            &many,
        ] {
            let refused = wrong.parse::<RequestStateKeys>().unwrap_err();
            assert!(refused.to_string().contains("key"), "{wrong}: {refused}");
        }
        assert!(
            [one.as_str(); 8]
                .join(",")
                .parse::<RequestStateKeys>()
                .is_ok()
        );
    }
}
