//! Counts on a Redis server.

mod lists;
mod part;
mod scripts;
#[cfg(test)]
mod tests;
mod under_way;

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::{Script, ScriptInvocation};
use smallvec::SmallVec;

use super::usage::{LimitFilter, LimitUsage};
use super::window::LEASE;
use super::{LimitConclusion, LimitReservation, LimitReserved, LimitStore, STATE_KEPT, StateId};
use crate::clock::Moment;
use crate::remote::{Begun, Link, Remote, SOMETHING_ELSE};
use crate::store::{StoreAnswer, StoreError};
use part::Part;
use scripts::{SCRIPTS, Scripts};
use under_way::UnderWay;

/// How often it is said of something under way that it is, before the lease is over.
const RENEWALS: u32 = 4;

/// A [`LimitStore`] on the server of a [`RedisState`](crate::RedisState): what several
/// processes charge counts together, and outlives them. Clones are the same store.
///
/// Each decision takes one round trip to the server, which does it in one step; two if
/// some of the limits are those of a caller and others those of all callers together.
/// It is as exact as [`MemoryLimitStore`](crate::MemoryLimitStore) under any
/// concurrency, with the same rounding: all windows go by the clock of the server,
/// which has to go on evenly. What is charged is known until its window is over, and
/// no longer: every key expires. A budget with ten charges in its window takes about
/// 440 bytes, and none more than 760, apart from the names of callers; what
/// is remembered of a decision takes about 250 bytes for five minutes.
///
/// Nothing is bounded for each caller: a caller has no more budgets than the policy
/// has limits and sessions. What a server forgets when it crashes can be used up again.
///
/// Calls that count for as long as they are under way are reported to the server by
/// this process every 15 s. If the process dies, they count for another 60 s. While
/// the server is away they cannot be reported; what is under way for longer than
/// six minutes without that is forgotten. What is given back later than five
/// minutes after it was charged stays charged.
///
/// To see [what is counted](LimitStore::usage), all keys of the server are looked through,
/// for 30 s at most.
#[derive(Clone)]
pub struct RedisLimitStore {
    remote: Arc<Remote>,
    under_way: UnderWay,
    scripts: &'static Scripts,
    lease: Duration,
}

impl RedisLimitStore {
    /// What the server has to know.
    pub(crate) fn scripts() -> Vec<&'static Script> {
        SCRIPTS.all()
    }

    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        Self::with(remote, &SCRIPTS, LEASE)
    }

    fn with(remote: Arc<Remote>, scripts: &'static Scripts, lease: Duration) -> Self {
        let under_way = UnderWay::default();
        let renewed = under_way.clone();
        remote.repeat(lease / RENEWALS, move |link| {
            renewed.clone().renew(scripts, link)
        });
        Self {
            remote,
            under_way,
            scripts,
            lease,
        }
    }

    /// The call with which a part of a reservation is charged, or only asked about.
    fn reserving(
        &self,
        reservation: &LimitReservation,
        part: &Part,
        what: &str,
    ) -> ScriptInvocation<'static> {
        let mut call = part.call(&self.scripts.reserve);
        call.arg(what);
        part.describe(reservation, self.lease, &mut call);
        #[cfg(test)]
        self.turn_clock(&mut call, reservation.at());
        call
    }

    /// The call that says what became of a part of a reservation.
    fn concluding(
        &self,
        part: &Part,
        conclusion: LimitConclusion,
        #[cfg_attr(not(test), expect(unused_variables, reason = "the server has a clock"))]
        now: Moment,
    ) -> ScriptInvocation<'static> {
        let mut call = part.call(&self.scripts.conclude);
        call.arg(match conclusion {
            LimitConclusion::NotSent => "not_sent",
            LimitConclusion::Ended => "ended",
            LimitConclusion::BrokenOff => "broken_off",
        });
        #[cfg(test)]
        self.turn_clock(&mut call, now);
        call
    }

    /// What the scripts take for the time, if they do not go by the clock of the
    /// server.
    #[cfg(test)]
    fn turn_clock(&self, call: &mut ScriptInvocation<'static>, now: Moment) {
        if std::ptr::eq(self.scripts, &*scripts::BY_HAND) {
            call.arg(crate::clock::since_1970(now.system));
        }
    }

    /// Asks for it, which goes on whether anybody waits for the answer or not.
    fn begin(&self, reservation: &LimitReservation) -> Begun<LimitReserved> {
        let steps: SmallVec<[Step; 2]> = Part::all(reservation)
            .into_iter()
            .map(|part| Step {
                ask: self.reserving(reservation, &part, "ask"),
                charge: self.reserving(reservation, &part, "charge"),
                give_back: self.concluding(&part, LimitConclusion::NotSent, reservation.at()),
                part,
            })
            .collect();
        self.under_way
            .begin(reservation, steps.iter().map(|step| &step.part));
        let (id, under_way) = (reservation.id(), self.under_way.clone());
        let begun = self.remote.begin(async move |link| {
            let reserved = reserve(link, steps).await;
            if !matches!(reserved, Ok(LimitReserved::Admitted { .. })) {
                under_way.end(id);
            }
            reserved
        });
        // What fails at once is not concluded either.
        if !begun.is_asked() {
            self.under_way.end(id);
        }
        begun
    }
}

impl LimitStore for RedisLimitStore {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        self.begin(reservation).into_answer()
    }

    fn conclude(&self, reservation: &LimitReservation, conclusion: LimitConclusion, now: Moment) {
        self.under_way.end(reservation.id());
        for part in Part::all(reservation) {
            self.remote.tell(self.concluding(&part, conclusion, now));
        }
    }

    fn ask(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        let asks: SmallVec<[_; 2]> = Part::all(reservation)
            .into_iter()
            .map(|part| (self.reserving(reservation, &part, "ask"), part))
            .collect();
        let ask = async move |link: Link| {
            let mut asked = Asked::default();
            for (ask, part) in asks {
                let answer = link.invoke(&ask).await?;
                asked.add(&part, answer)?;
            }
            Ok(asked.reserved())
        };
        self.remote.begin(ask).into_answer()
    }

    fn keep_state(&self, state: &StateId, _: &Arc<str>, _: Moment) {
        let mut keep = KEEP_STATE.prepare_invoke();
        keep.key(state_key(state)).arg(STATE_KEPT.as_secs());
        self.remote.tell(keep);
    }

    fn use_state(&self, state: &StateId) -> StoreAnswer<bool> {
        let mut use_up = USE_STATE.prepare_invoke();
        use_up.key(state_key(state)).arg(STATE_KEPT.as_secs());
        let used = async move |link: Link| Ok(link.invoke::<i64>(&use_up).await? == 1);
        self.remote.begin(used).into_answer()
    }

    /// It goes by the clock of the server.
    fn usage(&self, filter: &LimitFilter, _: Moment, most: usize) -> StoreAnswer<Vec<LimitUsage>> {
        let (scripts, filter) = (self.scripts, filter.clone());
        let look = move |link| lists::usage(link, scripts, filter, most);
        self.remote.begin(look).into_answer()
    }

    fn reset(&self, filter: &LimitFilter, _: Moment) -> StoreAnswer<()> {
        let (scripts, filter) = (self.scripts, filter.clone());
        let look = move |link| lists::reset(link, scripts, filter);
        self.remote.begin(look).into_answer()
    }

    fn outlives_process(&self) -> bool {
        true
    }
}

/// It can be told twice, and the second time after it was used.
static KEEP_STATE: LazyLock<Script> =
    LazyLock::new(|| Script::new("redis.call('SET', KEYS[1], 'kept', 'NX', 'EX', ARGV[1])"));

static USE_STATE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= 'kept' then return 0 end
         redis.call('SET', KEYS[1], 'used', 'EX', ARGV[1])
         return 1",
    )
});

/// Each is alone, so it may be anywhere.
fn state_key(state: &StateId) -> String {
    format!(
        "mcp-policy:1:state:{}",
        URL_SAFE_NO_PAD.encode(state.as_bytes())
    )
}

/// The calls for one part of a reservation.
struct Step {
    part: Part,
    ask: ScriptInvocation<'static>,
    charge: ScriptInvocation<'static>,
    give_back: ScriptInvocation<'static>,
}

/// Charges one part after the other. If one is too much, the others are only asked,
/// and what was charged already is given back.
async fn reserve(link: Link, steps: SmallVec<[Step; 2]>) -> Result<LimitReserved, StoreError> {
    let mut asked = Asked::default();
    let mut charged = Vec::new();
    for step in steps {
        let call = match asked.exceeded {
            None => &step.charge,
            Some(_) => &step.ask,
        };
        let answer = link.invoke(call).await?;
        asked.add(&step.part, answer)?;
        charged.push(step.give_back);
    }
    if asked.exceeded.is_none() {
        return Ok(asked.reserved());
    }
    for give_back in charged.into_iter().take(asked.charged) {
        if link.invoke::<()>(&give_back).await.is_err() {
            link.tell_soon(give_back);
        }
    }
    Ok(asked.reserved())
}

/// What the server says to a reservation.
#[derive(Default)]
struct Asked {
    /// The first that is enforced and too much.
    exceeded: Option<usize>,
    /// The first that is not enforced and too much.
    over: Option<usize>,
    /// How long until none of those that are enforced is too much.
    wait: Option<Duration>,
    /// How many parts were charged.
    charged: usize,
}

impl Asked {
    fn reserved(&self) -> LimitReserved {
        match self.exceeded {
            Some(charge) => LimitReserved::Exceeded {
                charge,
                retry_after: self.wait,
            },
            None => LimitReserved::Admitted { over: self.over },
        }
    }

    /// What it says to one part: what became of it, the place of a charge among those
    /// of the part, from one, and microseconds to wait.
    fn add(&mut self, part: &Part, answer: (i64, usize, i64)) -> Result<(), StoreError> {
        let (what, place, wait) = answer;
        let place = place
            .checked_sub(1)
            .and_then(|place| part.places.get(place).copied());
        let first = |one: Option<usize>| one.into_iter().chain(place).min();
        match what {
            0 => {
                self.over = first(self.over);
                self.charged += usize::from(self.exceeded.is_none());
            }
            1 if place.is_some() => {
                let wait = u64::try_from(wait).ok().map(Duration::from_micros);
                self.wait = match self.exceeded {
                    None => wait,
                    Some(_) => self.wait.zip(wait).map(|(one, other)| one.max(other)),
                };
                self.exceeded = first(self.exceeded);
            }
            2 => return Err(StoreError::of("it was concluded before it was reserved")),
            3 => return Err(StoreError::of("it was reserved before")),
            _ => return Err(SOMETHING_ELSE),
        }
        Ok(())
    }
}

impl fmt::Debug for RedisLimitStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLimitStore").finish_non_exhaustive()
    }
}
