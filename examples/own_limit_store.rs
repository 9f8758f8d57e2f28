//! What limits count, kept in a store of one's own: here a list in memory, which could as
//! well be a table of a database. It only has rolling windows, and refuses to count in
//! any other way.
//!
//! ```text
//! cargo run --example own_limit_store
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mcp_policy::{
    Amount, Caller, DecisionId, FromClient, LimitCharge, LimitConclusion, LimitFilter,
    LimitReservation, LimitReserved, LimitStore, LimitUsage, MessageGuard, Moment, Period, Policy,
    Quota, QuotaId, StoreAnswer, StoreError,
};

type Error = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"{ "version": "1", "default": "deny", "tools": { "refund": { "limits": [
    { "counter": "spend", "window": "day", "max": 100, "increment_from": "args.amount" }
] } } }"#;

/// Rows that are kept: nobody may fill the memory. What comes too late is refused.
const MOST_ROWS: usize = 100_000;

/// Of one limit, on one server, and of one caller or all.
type Budget = (QuotaId, Arc<str>, Option<Arc<str>>);

/// What was charged.
#[derive(Debug)]
struct Row {
    charged_by: DecisionId,
    /// What counts together. Sessions have no budget of their own here, which is stricter
    /// than policies ask for.
    budget: Budget,
    quota: Arc<Quota>,
    millionths: u128,
    until: SystemTime,
}

impl Row {
    /// `None` if this cannot be counted here.
    fn of(reservation: &LimitReservation, charge: &LimitCharge) -> Option<Self> {
        let Period::Rolling(window) = charge.quota().period() else {
            return None;
        };
        let (server, caller) = (reservation.server().clone(), charge.caller().cloned());
        Some(Self {
            charged_by: reservation.id(),
            budget: (charge.quota().id(), server, caller),
            quota: charge.quota().clone(),
            millionths: charge.amount().millionths().into(),
            until: reservation.at().system + window,
        })
    }
}

#[derive(Debug, Default)]
struct Ledger(Mutex<Vec<Row>>);

impl Ledger {
    /// One after the other, as in a transaction.
    fn with<T>(&self, work: impl FnOnce(&mut Vec<Row>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LimitStore for Ledger {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        let (now, charges) = (reservation.at().system, reservation.charges());
        let new = charges.iter().map(|charge| Row::of(reservation, charge));
        let Some(new) = new.collect::<Option<Vec<_>>>() else {
            return StoreAnswer::failed(StoreError::new("only rolling windows are counted here"));
        };
        StoreAnswer::known(self.with(|rows| {
            rows.retain(|row| row.until > now);
            if rows.len() + new.len() > MOST_ROWS {
                return LimitReserved::Full;
            }
            let said = judge(rows, &new, charges, now);
            if matches!(said, LimitReserved::Admitted { .. }) {
                rows.extend(new);
            }
            said
        }))
    }

    // What was reserved is known at once, so nothing is concluded before.
    fn conclude(&self, reservation: &LimitReservation, conclusion: LimitConclusion, _: Moment) {
        if conclusion == LimitConclusion::NotSent {
            self.with(|rows| rows.retain(|row| row.charged_by != reservation.id()));
        }
    }

    fn usage(
        &self,
        filter: &LimitFilter,
        now: Moment,
        most: usize,
    ) -> StoreAnswer<Vec<LimitUsage>> {
        StoreAnswer::known(self.with(|rows| {
            let mut budgets: HashMap<&Budget, Vec<&Row>> = HashMap::new();
            for row in rows.iter().filter(|row| row.until > now.system) {
                budgets.entry(&row.budget).or_default().push(row);
            }
            let used = budgets.into_values().filter_map(|rows| used(&rows, now));
            used.filter(|used| filter.includes(used))
                .take(most)
                .collect()
        }))
    }

    fn reset(&self, filter: &LimitFilter, now: Moment) -> StoreAnswer<()> {
        self.with(|rows| {
            rows.retain(|row| !used(&[row], now).is_some_and(|used| filter.includes(&used)));
        });
        StoreAnswer::known(())
    }
}

/// What these rows, which are of one budget, say to an operator.
fn used(rows: &[&Row], now: Moment) -> Option<LimitUsage> {
    let (_, server, caller) = &rows.first()?.budget;
    let millionths = rows.iter().map(|row| row.millionths).sum::<u128>();
    let amount = Amount::from_millionths(millionths.try_into().ok()?);
    let mut used = LimitUsage::new(&**server, &rows.first()?.quota, amount);
    if let Some(caller) = caller {
        used = used.of_caller(&**caller);
    }
    let until = rows.iter().map(|row| row.until).max()?;
    Some(used.until_free(until.duration_since(now.system).unwrap_or_default()))
}

/// Whether all of it fits, and if not, when it would.
fn judge(rows: &[Row], new: &[Row], charges: &[LimitCharge], now: SystemTime) -> LimitReserved {
    let (mut over, mut exceeded, mut retry_after) = (None, None, Some(Duration::ZERO));
    for (place, (charge, new)) in charges.iter().zip(new).enumerate() {
        let mut counted: Vec<&Row> = rows.iter().filter(|row| row.budget == new.budget).collect();
        let mut used = new.millionths + counted.iter().map(|row| row.millionths).sum::<u128>();
        let max = charge.quota().max().millionths().into();
        if used > max && charge.is_enforced() {
            exceeded.get_or_insert(place);
            counted.sort_unstable_by_key(|row| row.until);
            let fits = counted.iter().find(|row| {
                used -= row.millionths;
                used <= max
            });
            let wait = fits.and_then(|row| row.until.duration_since(now).ok());
            retry_after = retry_after.zip(wait).map(|(one, other)| one.max(other));
        } else if used > max {
            over.get_or_insert(place);
        }
    }
    match exceeded {
        Some(charge) => LimitReserved::Exceeded {
            charge,
            retry_after,
        },
        None => LimitReserved::Admitted { over },
    }
}

/// Refunds by two callers, as lines that say what became of each.
pub(crate) async fn run() -> Result<Vec<String>, Error> {
    let ledger = Arc::new(Ledger::default());
    let guard = MessageGuard::new(POLICY.parse::<Policy>()?).limit_store(Arc::clone(&ledger));
    let mut lines = Vec::new();
    for (caller, amount) in [("alice", 60), ("alice", 50), ("bob", 50), ("alice", 40)] {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"refund","arguments":{{"amount":{amount}}}}}}}"#
        );
        let connection = guard.connect(Caller::new(caller));
        let became = match connection.from_client(call.as_bytes()).await {
            FromClient::Forward => "goes on".to_owned(),
            FromClient::Refuse(answer) => String::from_utf8(answer)?,
            other => format!("{other:?}"),
        };
        lines.push(format!("{caller} refunds {amount}: {became}"));
    }
    let all = LimitFilter::default();
    let mut used = ledger.usage(&all, Moment::now(), 10).get().await?;
    used.sort_by(|one, other| one.caller().cmp(&other.caller()));
    for used in used {
        let caller = used.caller().unwrap_or("everybody");
        lines.push(format!(
            "{caller} has used {} of {}",
            used.used(),
            used.max()
        ));
    }
    ledger
        .reset(&all.caller("alice"), Moment::now())
        .get()
        .await?;
    lines.push(format!(
        "rows in the ledger, without those of alice: {}",
        ledger.with(|rows| rows.len())
    ));
    Ok(lines)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    for line in run().await? {
        println!("{line}");
    }
    Ok(())
}
