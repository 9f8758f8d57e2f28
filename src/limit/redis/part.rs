//! The charges of a reservation whose budgets are kept in one place.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::{Script, ScriptInvocation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use crate::clock::micros;
use crate::limit::{LimitCharge, LimitReservation};
use crate::policy::Period;
use crate::remote::shortened;

/// What the names of all keys begin with. The number is that of what they hold.
pub(super) const PREFIX: &str = "mcp-policy:1:";

/// What is to be told of a budget in lists.
#[derive(Serialize, Deserialize)]
pub(super) struct About {
    pub(super) server: Box<str>,
    pub(super) policy: Box<str>,
    pub(super) place: Box<str>,
    pub(super) caller: Option<Box<str>>,
    /// Millionths.
    pub(super) max: u64,
}

/// The charges of a reservation that are of one caller, or of all callers together.
/// A script can only be about one of these: a cluster keeps each on one of its nodes.
#[derive(Clone)]
pub(super) struct Part {
    caller: Option<Arc<str>>,
    /// Which of the charges these are.
    pub(super) places: SmallVec<[usize; 4]>,
    /// Of what is remembered of the reservation, and of the budget of each charge.
    keys: SmallVec<[String; 4]>,
}

impl Part {
    /// All parts of a reservation, those of callers first.
    pub(super) fn all(reservation: &LimitReservation) -> SmallVec<[Self; 2]> {
        let mut parts: SmallVec<[Self; 2]> = SmallVec::new();
        for (place, charge) in reservation.charges().iter().enumerate() {
            let same = |part: &Self| part.caller.as_ref() == charge.caller();
            let known = parts.iter().position(same).unwrap_or_else(|| {
                parts.push(Self::new(reservation, charge.caller()));
                parts.len() - 1
            });
            if let Some(part) = parts.get_mut(known) {
                part.add(place, charge, reservation.server());
            }
        }
        parts.sort_by_key(|part| part.caller.is_none());
        parts
    }

    fn new(reservation: &LimitReservation, caller: Option<&Arc<str>>) -> Self {
        let tag = tag(reservation.server(), caller.map(|caller| &**caller));
        let record = format!("{PREFIX}{{{tag}}}:r:{}", reservation.id());
        Self {
            caller: caller.cloned(),
            places: SmallVec::new(),
            keys: SmallVec::from_iter([record]),
        }
    }

    fn add(&mut self, place: usize, charge: &LimitCharge, server: &str) {
        let tag = tag(server, self.caller.as_deref());
        let quota = URL_SAFE_NO_PAD.encode(charge.quota().id().as_bytes());
        self.places.push(place);
        self.keys.push(format!("{PREFIX}{{{tag}}}:b:{quota}"));
    }

    /// A script that is to be called with the keys of this part.
    pub(super) fn call(&self, script: &'static Script) -> ScriptInvocation<'static> {
        let mut call = script.prepare_invoke();
        for key in &self.keys {
            call.key(key);
        }
        call
    }

    /// What [`reserve.lua`](super::scripts) has to know of each charge.
    pub(super) fn describe(
        &self,
        reservation: &LimitReservation,
        lease: Duration,
        call: &mut ScriptInvocation<'static>,
    ) {
        let charges = reservation.charges();
        for charge in self.places.iter().filter_map(|place| charges.get(*place)) {
            let quota = charge.quota();
            let (kind, window) = match quota.period() {
                Period::Rolling(window) => ("rolling", window),
                Period::Calendar(unit) => ("calendar", unit.length()),
                Period::Concurrent => ("concurrent", lease),
            };
            call.arg(kind).arg(micros(window));
            for amount in [charge.amount(), quota.max()] {
                let millionths = amount.millionths();
                call.arg(millionths / HIGH).arg(millionths % HIGH);
            }
            let about = About {
                server: (&**reservation.server()).into(),
                policy: quota.policy().into(),
                place: quota.place().into(),
                caller: self.caller.as_deref().map(Into::into),
                max: quota.max().millionths(),
            };
            call.arg(u8::from(charge.is_enforced()))
                .arg(charge.session().unwrap_or_default())
                .arg(quota.sessions().saturating_sub(1))
                // Nothing in it can fail to be written.
                .arg(serde_json::to_vec(&about).unwrap_or_default());
        }
    }
}

/// So many millionths are counted apart from the rest, as in `amounts.lua`.
pub(super) const HIGH: u64 = 1_000_000_000;

/// Whose budgets these are: a digest, as names can be long, and should not be where
/// everybody can read them who lists the keys.
fn tag(server: &str, caller: Option<&str>) -> String {
    let mut digest = Sha256::new();
    digest.update((server.len() as u64).to_be_bytes());
    digest.update(server);
    if let Some(caller) = caller {
        digest.update("/");
        digest.update(caller);
    }
    shortened(digest)
}
