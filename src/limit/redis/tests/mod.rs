//! Each test has a server of its own. Those that need a clock that can be turned let
//! the scripts go by that; they are the same otherwise.

mod alike;
mod exact;
mod faults;
mod keys;
mod lists;
mod races;
mod reservations;
mod under_way;

use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;
use proptest::sample::select;

use super::scripts::BY_HAND;
use super::*;
use crate::limit::testing::{contract, seconds, usage};
use crate::policy::Period;
use crate::remote::server::{self, Server};
use crate::state::RedisState;

const START: &str = "2026-11-25T04:59:00Z";

/// Longer than any test makes believe.
const LONG: Duration = Duration::from_secs(400_000_000);

fn connect(url: &str) -> Result<RedisLimitStore, StoreError> {
    RedisState::connect(url).map(|state| state.limits())
}

/// By other scripts, or with another lease.
fn open(url: &str, scripts: &'static Scripts, lease: Duration) -> RedisLimitStore {
    let remote = Remote::open(url, scripts.all()).unwrap();
    RedisLimitStore::with(Arc::new(remote), scripts, lease)
}

/// However slow the machine is.
fn reserve(store: &RedisLimitStore, reservation: &LimitReservation) -> LimitReserved {
    block_on(store.begin(reservation).answer()).unwrap()
}

/// By a clock that is turned by hand. Everything was done when it has answered.
struct ByHand(RedisLimitStore);

impl ByHand {
    fn with_lease(server: &Server, lease: Duration) -> Self {
        let store = open(&server.url(), &BY_HAND, lease);
        block_on(store.remote.ready()).unwrap();
        Self(store)
    }

    fn of(server: &Server) -> Self {
        Self::with_lease(server, LONG)
    }
}

impl LimitStore for ByHand {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        match block_on(self.0.begin(reservation).answer()) {
            Ok(answer) => StoreAnswer::known(answer),
            Err(error) => StoreAnswer::failed(error),
        }
    }

    fn ask(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        StoreAnswer::known(block_on(self.0.ask(reservation).patiently()).unwrap())
    }

    fn keep_state(&self, state: &StateId, caller: &Arc<str>, now: Moment) {
        self.0.keep_state(state, caller, now);
        self.0.remote.wait_until_told();
    }

    fn use_state(&self, state: &StateId) -> StoreAnswer<bool> {
        self.0.use_state(state)
    }

    fn conclude(&self, reservation: &LimitReservation, conclusion: LimitConclusion, now: Moment) {
        self.0.conclude(reservation, conclusion, now);
        self.0.remote.wait_until_told();
    }
}

fn differs_in_nothing(cases: u32, history: impl Strategy<Value = Vec<contract::Step>>) {
    let server = Server::start();
    let store = ByHand::of(&server);
    proptest!(ProptestConfig::with_cases(cases), |(history in history)| {
        server.run::<()>("FLUSHALL");
        contract::does_as_a_log(&store, history);
    });
}

#[test]
#[ignore = "needs redis-server"]
fn it_does_as_a_log_of_everything() {
    differs_in_nothing(100, contract::histories(400));
}

/// Some of them do not come to where anything is merged.
#[test]
#[ignore = "needs redis-server"]
fn a_short_history_is_exact() {
    differs_in_nothing(200, contract::histories(60));
}

#[test]
#[ignore = "needs redis-server"]
fn sessions_gain_nothing() {
    let server = Server::start();
    let store = ByHand::of(&server);
    let periods = select(vec![seconds(60), Period::Concurrent]);
    let config = ProptestConfig::with_cases(150);
    proptest!(config, |(period in periods, history in contract::farming(200))| {
        server.run::<()>("FLUSHALL");
        contract::gains_nothing_by_sessions(&store, period, history);
    });
}

/// The nodes of a cluster refuse to do two things in one step that may have to be done
/// by different nodes.
#[test]
#[ignore = "needs redis-server"]
fn the_rest_of_the_contract_is_kept_by_a_cluster_too() {
    for arguments in [&[][..], &["--cluster-enabled", "yes"]] {
        let server = Server::with(arguments);
        if !arguments.is_empty() {
            server.run::<()>("CLUSTER ADDSLOTSRANGE 0 16383");
            while !server.run::<String>("CLUSTER INFO").contains("state:ok") {
                std::thread::yield_now();
            }
        }
        let store = ByHand::of(&server);
        contract::tells_budgets_apart(&store);
        contract::charges_all_or_none(&store);
        contract::keeps_the_calendar(&store);
        contract::uses_each_state_once(&[&store, &ByHand::of(&server)]);
    }
}
