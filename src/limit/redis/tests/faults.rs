//! Servers that are slow, away, or somebody else's.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use futures::FutureExt as _;
use futures::channel::oneshot;

use super::*;
use crate::limit::testing::{ADMITTED, ManualClock, charge, quota, reservation};
use crate::policy::LimitScope;

const MAX: u64 = 3_000;

fn call() -> LimitReservation {
    call_for(1)
}

fn call_for(amount: u64) -> LimitReservation {
    let of_each = quota("/a", seconds(86_400), MAX, LimitScope::Caller);
    let of_all = quota("/all", seconds(86_400), 2 * MAX, LimitScope::Server);
    let charges = [of_each, of_all].map(|quota| charge(&quota, "alice", amount));
    reservation(now(), charges)
}

fn now() -> Moment {
    ManualClock::at(START).now()
}

/// As it would be waited for by somebody who wants to call.
fn asked(store: &RedisLimitStore, call: &LimitReservation) -> Result<LimitReserved, StoreError> {
    block_on(store.reserve(call).get())
}

/// What is used, in both places.
fn used(store: &RedisLimitStore) -> u64 {
    store.remote.wait_until_told();
    let all = usage(store, &LimitFilter::default(), now(), 10);
    all.iter().map(|usage| usage.used().millionths()).sum()
}

fn wait_until_ready(store: &RedisLimitStore) {
    while block_on(store.remote.ready()).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whatever was answered is known, and whatever was not has been given back.
#[test]
#[ignore = "needs redis-server"]
fn a_server_that_crashes_forgets_nothing_and_keeps_nothing() {
    let mut server = Server::that_keeps_everything();
    let store = connect(&server.url()).unwrap();
    block_on(store.remote.ready()).unwrap();
    let (admitted, failed) = (Mutex::new(0_u64), Mutex::new(0_u64));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let call = call();
                    match asked(&store, &call) {
                        Ok(ADMITTED) => *admitted.lock().unwrap() += 1,
                        Ok(_) => {}
                        Err(_) => {
                            *failed.lock().unwrap() += 1;
                            store.conclude(&call, LimitConclusion::NotSent, now());
                            thread::sleep(Duration::from_millis(1));
                        }
                    }
                }
            });
        }
        let goes_on = |count: &Mutex<u64>| {
            let before = *count.lock().unwrap();
            while *count.lock().unwrap() == before {
                thread::sleep(Duration::from_millis(1));
            }
        };
        for _ in 0..3 {
            goes_on(&admitted);
            server.kill();
            goes_on(&failed);
            server.start_again();
            wait_until_ready(&store);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let admitted = admitted.into_inner().unwrap();
    assert_eq!(used(&store), 2 * admitted);
    let rest = block_on(store.begin(&call_for(MAX - admitted)).answer());
    assert_eq!(rest, Ok(ADMITTED));
    assert_ne!(block_on(store.begin(&call()).answer()), Ok(ADMITTED));
}

/// It does not matter whether it does then what it was asked to when it is too late.
#[test]
#[ignore = "needs redis-server"]
fn what_a_slow_server_does_too_late_is_given_back() {
    let server = Server::start();
    let store = connect(&server.url()).unwrap();
    block_on(store.remote.ready()).unwrap();
    // So that the first of each is nothing else.
    assert_eq!(block_on(store.begin(&call()).answer()), Ok(ADMITTED));
    // With the second the connection is given up.
    for slow in ["CLIENT PAUSE 500 ALL", "DEBUG SLEEP 5"] {
        let url = server.url();
        let slowing = thread::spawn(move || {
            server::query::<()>(&url, slow);
        });
        thread::sleep(Duration::from_millis(100));
        for _ in 0..20 {
            let (call, since) = (call(), Instant::now());
            assert!(asked(&store, &call).is_err());
            assert!(since.elapsed() < Duration::from_secs(10));
            store.conclude(&call, LimitConclusion::NotSent, now());
            if slow.starts_with("CLIENT") {
                break;
            }
        }
        slowing.join().unwrap();
        wait_until_ready(&store);
        assert_eq!(used(&store), 2, "{slow}");
    }
}

/// What is given back while the server is away is given back when it has come back.
#[test]
#[ignore = "needs redis-server"]
fn what_is_told_while_the_server_is_away_is_told_later() {
    let mut server = Server::that_keeps_everything();
    let store = connect(&server.url()).unwrap();
    let calls: Vec<_> = (0..100).map(|_| call()).collect();
    for call in &calls {
        assert_eq!(block_on(store.begin(call).answer()), Ok(ADMITTED));
    }
    server.kill();
    for call in &calls {
        store.conclude(call, LimitConclusion::NotSent, now());
    }
    while asked(&store, &call()).is_ok() {}
    // There is nothing to wait for.
    let error = asked(&store, &call()).unwrap_err();
    assert_ne!(error.to_string(), "there was no answer within 100 ms");
    server.start_again();
    wait_until_ready(&store);
    assert_eq!(used(&store), 0);
}

#[test]
#[ignore = "needs redis-server"]
fn no_more_than_so_many_wait() {
    let server = Server::start();
    let store = connect(&server.url()).unwrap();
    block_on(store.remote.ready()).unwrap();
    let (release, released) = oneshot::channel::<()>();
    let released = released.shared();
    let held: Vec<_> = std::iter::repeat_n(released, 1_024)
        .map(|released| {
            let waiting = async move |_| released.await.map_err(|_| StoreError::of("gone"));
            store.remote.begin(waiting)
        })
        .collect();
    let error = asked(&store, &call()).unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("too many questions wait"), "{error}");
    release.send(()).unwrap();
    for held in held {
        block_on(held.answer()).unwrap();
    }
    assert_eq!(super::reserve(&store, &call()), ADMITTED);
}

/// Nobody was asked, so there is nobody to wait for.
#[test]
#[ignore = "needs redis-server"]
fn a_server_that_comes_later_is_found() {
    let mut server = Server::start();
    server.kill();
    let store = connect(&server.url()).unwrap();
    assert!(block_on(store.remote.ready()).is_err());
    assert!(asked(&store, &call()).is_err());
    server.start_again();
    wait_until_ready(&store);
    assert_eq!(asked(&store, &call()), Ok(ADMITTED));
}

/// What is counted would be gone when its memory is full. One without a bound never is.
#[test]
#[ignore = "needs redis-server"]
fn a_server_that_forgets_what_is_counted_is_refused() {
    let ready = |arguments: &[&str]| {
        let server = Server::with(arguments);
        let store = connect(&server.url()).unwrap();
        block_on(store.remote.ready())
    };
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let forgets = ["--maxmemory", "100mb", "--maxmemory-policy", policy];
        let error = ready(&forgets).unwrap_err().to_string();
        assert!(error.contains("noeviction"), "{error}");
        assert_eq!(ready(&forgets[2..]), Ok(()));
    }
    assert_eq!(
        ready(&["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"]),
        Ok(())
    );
}

#[test]
#[ignore = "needs redis-server"]
fn a_password_is_used_and_never_shown() {
    let server = Server::with(&["--requirepass", "h4rdly"]);
    let right = connect(&format!("{}?pass=h4rdly", server.url())).unwrap();
    block_on(right.remote.ready()).unwrap();
    let wrong = connect(&format!("{}?pass=s3cret", server.url())).unwrap();
    let told = format!(
        "{:?} {}",
        wrong,
        block_on(wrong.remote.ready()).unwrap_err()
    );
    assert!(
        !told.contains("s3cret") && !told.contains("socket"),
        "{told}"
    );
    let answer = asked(&wrong, &call()).unwrap_err().to_string();
    assert!(!answer.contains("s3cret"), "{answer}");
    for url in ["http://s3cret@host", "redis://:s3cret@host:port", "s3cret"] {
        let error = connect(url).unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
    }
}

#[test]
#[ignore = "needs redis-server"]
fn nothing_is_left_of_a_store_that_is_dropped() {
    let server = Server::start();
    let connections = || {
        let clients: String = server.run("CLIENT LIST");
        clients.lines().count()
    };
    let store = connect(&server.url()).unwrap();
    block_on(store.remote.ready()).unwrap();
    let call = call();
    assert_eq!(block_on(store.begin(&call).answer()), Ok(ADMITTED));
    assert_eq!(connections(), 2);
    store.conclude(&call, LimitConclusion::NotSent, now());
    drop(store);
    while connections() > 1 {
        thread::sleep(Duration::from_millis(10));
    }
    // What it had to tell, it has told.
    assert_eq!(server.keys(), [""; 0]);
}
