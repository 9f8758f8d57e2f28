use futures::executor::block_on;

use super::*;
use crate::approval::ApprovalStore as _;
use crate::caller::Caller;
use crate::limit::testing::{ADMITTED, ManualClock, charge, contract, quota, reservation};
use crate::limit::{LimitConclusion, LimitReservation, LimitStore as _};
use crate::policy::{LimitScope, Period};
use crate::remote::server::Server;
use crate::session::SessionStore as _;

const START: &str = "2026-11-25T04:59:00Z";

fn connect(server: &Server) -> RedisState {
    let state = RedisState::connect(&server.url()).unwrap();
    // However busy the machine is.
    while block_on(state.ready()).is_err() {}
    state
}

fn call(clock: &ManualClock) -> LimitReservation {
    let quota = quota("/a", Period::Concurrent, 1, LimitScope::Caller);
    reservation(clock.now(), [charge(&quota, "alice", 1)])
}

#[test]
#[ignore = "needs redis-server"]
fn all_who_use_a_server_have_its_key() {
    let server = Server::start();
    let keys = || block_on(connect(&server).request_state_keys()).unwrap();
    contract::have_the_same_key(&keys(), &keys());
}

#[test]
#[ignore = "needs redis-server"]
fn all_that_is_made_of_it_has_one_connection() {
    let server = Server::start();
    let state = connect(&server);
    let clock = ManualClock::at(START);
    let limits = state.limits();
    let answered = block_on(limits.reserve(&call(&clock)).patiently());
    assert_eq!(answered, Ok(ADMITTED));
    let again = block_on(state.limits().reserve(&call(&clock)).patiently());
    assert!(again.is_ok_and(|again| again != ADMITTED));
    let alice = Caller::new("alice");
    for name in ["files", "mail"] {
        let sessions = state.sessions(name);
        let owner = sessions.session_owner("s", &alice).patiently();
        assert_eq!(block_on(owner), Ok(None));
        let approvals = state.approvals(name);
        let listed = approvals.list(&[], clock.now()).patiently();
        assert_eq!(block_on(listed).unwrap().len(), 0);
    }
    // The other is that of the question.
    assert_eq!(server.run::<String>("CLIENT LIST").lines().count(), 2);
}

/// Else a program that ends in good order leaves calls under way that have ended.
#[test]
#[ignore = "needs redis-server"]
fn whoever_closes_it_waits_until_the_server_knows_everything() {
    let server = Server::start();
    let state = connect(&server);
    let clock = ManualClock::at(START);
    let (limits, held) = (state.limits(), call(&clock));
    assert_eq!(block_on(limits.reserve(&held).patiently()), Ok(ADMITTED));
    server.run::<()>("CLIENT PAUSE 500 ALL");
    limits.conclude(&held, LimitConclusion::Ended, clock.now());
    block_on(state.close()).unwrap();
    assert!(state.remote.is_told());
    // What comes then is counted all the same.
    assert_eq!(
        block_on(limits.reserve(&call(&clock)).patiently()),
        Ok(ADMITTED)
    );
}

/// Whoever ends a program does not wait for ever.
#[test]
#[ignore = "needs redis-server"]
fn a_server_that_has_gone_is_not_waited_for() {
    let mut server = Server::start();
    let state = connect(&server);
    let clock = ManualClock::at(START);
    let (limits, held) = (state.limits(), call(&clock));
    assert_eq!(block_on(limits.reserve(&held).patiently()), Ok(ADMITTED));
    server.kill();
    limits.conclude(&held, LimitConclusion::Ended, clock.now());
    let error = block_on(state.close()).unwrap_err();
    assert!(error.to_string().contains("under way"), "{error}");
    server.start_again();
    // It is tried again, although nobody waits.
    while block_on(state.close()).is_err() {}
}

#[test]
#[ignore = "needs redis-server"]
fn a_password_is_used_and_never_shown() {
    let server = Server::with(&["--requirepass", "h4rdly"]);
    let open = |password| RedisState::connect(&format!("{}?pass={password}", server.url()));
    block_on(open("h4rdly").unwrap().ready()).unwrap();
    let wrong = open("s3cret").unwrap();
    let error = block_on(wrong.ready()).unwrap_err();
    let (limits, sessions) = (wrong.limits(), wrong.sessions("files"));
    let told = format!(
        "{wrong:?} {limits:?} {sessions:?} {:?} {error}",
        wrong.approvals("files")
    );
    assert!(
        !told.contains("s3cret") && !told.contains("socket"),
        "{told}"
    );
}
