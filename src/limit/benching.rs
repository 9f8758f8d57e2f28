//! For `benches/limits.rs`: calls, charged as the engine does it.

use std::sync::Arc;
use std::time::Duration;

use super::{LimitCharge, LimitReservation};
use crate::clock::Moment;
use crate::policy::{Amount, LimitScope, Period, Quota};

/// A call of this caller that counts once for each of so many limits, of which each
/// admits so many calls in a minute.
pub fn call(caller: &Arc<str>, limits: usize, max: u64, at: Moment) -> LimitReservation {
    let max = Amount::from_millionths(max.saturating_mul(Amount::ONE.millionths()));
    let period = Period::Rolling(Duration::from_secs(60));
    let charges = (0..limits).map(|number| LimitCharge {
        quota: Arc::new(Quota::new(
            "",
            format!("/all_tools/limits/{number}"),
            period,
            max,
            LimitScope::Caller,
        )),
        caller: Some(Arc::clone(caller)),
        session: None,
        amount: Amount::ONE,
        enforced: true,
    });
    LimitReservation::new("", charges, at)
}

/// The same call, but of this caller and at this time.
pub fn call_of(call: &mut LimitReservation, caller: &Arc<str>, at: Moment) {
    call.at = at;
    for charge in &mut call.charges {
        charge.caller = Some(Arc::clone(caller));
    }
}
