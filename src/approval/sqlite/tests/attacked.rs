//! What a hostile reviewer tried on the file.

use super::*;

/// Text that is not UTF-8 is an error of the whole transaction, again and again once the
/// row is over, and no row less.
#[test]
fn a_row_that_is_not_utf_8_does_not_end_everything() {
    for column in ["request", "shown"] {
        let (directory, store) = fresh();
        let mut clock = ManualClock::at(START);
        let id = Asking(&store).approved(&pay(&clock, "{}"));
        let file = file_in(directory.path());
        let spoil = format!("UPDATE approval SET {column} = CAST(x'ff' AS TEXT)");
        assert_eq!(file.execute(&spoil, []).unwrap(), 1);
        // Others can ask meanwhile, and when its time is over it is forgotten.
        Asking(&store).pending(&pay(&clock, "[]"));
        clock.pass(EXPIRES);
        let asked = block_on(store.ask(&pay(&clock, "{}")).patiently());
        assert!(asked.is_ok(), "{column}: {asked:?}");
        assert_eq!(Asking(&store).state(id, clock.now()), None);
    }
}

/// One such row makes what others do in the same transaction fail.
#[test]
fn a_row_that_is_not_utf_8_concerns_nobody_else() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    let (spoilt, other) = (pay(&clock, "1"), pay(&clock, "2"));
    Asking(&store).approved(&spoilt);
    let id = Asking(&store).approved(&other);
    let file = file_in(directory.path());
    let spoil = "UPDATE approval SET request = CAST(x'ff' AS TEXT) WHERE number = 1";
    assert_eq!(file.execute(spoil, []).unwrap(), 1);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let busy = store.act(clock.now(), move |_| {
        let _ = held.recv();
        Ok(())
    });
    // Behind what the thread is at, and so together.
    let asked = store.ask(&spoilt);
    let used = store.use_up(id, other.digest(), clock.now());
    drop(hold);
    let _ = block_on(busy.patiently());
    block_on(asked.patiently()).unwrap_err();
    assert_eq!(block_on(used.patiently()), Ok(ApprovalUsed::Now));
}

#[test]
fn what_is_not_in_force_is_not_used() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    let call = pay(&clock, "{}");
    let id = Asking(&store).approved(&call);
    let file = file_in(directory.path());
    file.execute("UPDATE approval SET in_force = 0", [])
        .unwrap();
    let used = store.use_up(id, call.digest(), clock.now());
    assert!(block_on(used.patiently()).is_err());
}

/// A row that holds another request is none of this id.
#[test]
fn a_row_speaks_of_the_request_that_it_is_kept_as() {
    let (directory, store) = fresh();
    let clock = ManualClock::at(START);
    let (approved, waits) = (pay(&clock, "1"), pay(&clock, "2"));
    Asking(&store).approved(&approved);
    let id = Asking(&store).pending(&waits).id();
    let file = file_in(directory.path());
    let mix = "UPDATE approval SET request = (SELECT request FROM approval WHERE number = 1)";
    file.execute(mix, []).unwrap();
    let found = block_on(store.get(id, clock.now()).patiently());
    assert!(found.is_err(), "{found:?}");
}
