use super::*;
use crate::approval::Ruling;
use crate::approval::testing::{demand, question, word};
use crate::limit::testing::ManualClock;

const START: &str = "2026-11-25T04:59:00Z";

/// A table, and what time it is.
struct Timed {
    table: Table,
    clock: ManualClock,
    expires: Duration,
}

impl Timed {
    fn new() -> Self {
        Self {
            table: Table::default(),
            clock: ManualClock::at(START),
            expires: Duration::from_secs(86_400),
        }
    }

    fn now(&mut self) -> Instant {
        self.table.pass_time(self.clock.now().instant)
    }

    fn pass(&mut self, time: Duration) {
        self.clock.pass(time);
        self.now();
        self.check();
    }

    /// With arguments of so many bytes, more or less.
    fn ask(&mut self, caller: &str, number: usize, bytes: usize) -> ApprovalAsked {
        let mut demand = demand();
        demand.expires = self.expires;
        let arguments = format!(r#"["{number:0bytes$}"]"#);
        let now = self.now();
        let question = question(&demand, caller, &arguments, self.clock.now());
        self.table
            .ask(ApprovalRequest::new(&question).unwrap(), now)
    }

    fn pending(&mut self, caller: &str, number: usize, bytes: usize) -> ApprovalId {
        match self.ask(caller, number, bytes) {
            ApprovalAsked::Pending(request) => request.id(),
            other => panic!("{other:?}"),
        }
    }

    fn rule(&mut self, id: ApprovalId, ruling: &Ruling) {
        let (now, system) = (self.now(), self.clock.now().system);
        let decided = self
            .table
            .change(id, now, |request| request.decide(ruling, system));
        assert_eq!(decided, Some(Ok(())));
    }

    fn cancel(&mut self, id: ApprovalId) {
        let now = self.now();
        assert_eq!(
            self.table.change(id, now, ApprovalRequest::cancel),
            Some(true)
        );
    }

    /// What is known of how much there is is true.
    fn check(&self) {
        let table = &self.table;
        let in_force = |entry: &&Entry| {
            let known = table.by_digest.get(entry.request.digest());
            known == Some(&entry.request.id())
        };
        let is_pending = |entry: &&Entry| entry.request.state() == ApprovalState::Pending;
        let entries = || table.entries.values();
        assert_eq!(table.by_digest.len(), entries().filter(in_force).count());
        assert_eq!(table.ends.len(), table.by_digest.len());
        assert_eq!(
            table.entries.len(),
            table.by_digest.len() + table.ended.len()
        );
        assert_eq!(table.pending, entries().filter(is_pending).count());
        assert_eq!(
            table.bytes,
            entries()
                .map(|entry| entry.request.shown_bytes())
                .sum::<usize>()
        );
        for (name, caller) in &table.callers {
            let own = || entries().filter(|entry| entry.request.caller() == &**name);
            assert_eq!(caller.in_force, own().filter(in_force).count());
            assert_eq!(caller.pending, own().filter(is_pending).count());
            let asked = table.asked.iter().filter(|(_, asked)| asked == name);
            assert_eq!(caller.asked, asked.count());
        }
        for entry in entries().filter(in_force) {
            assert!(table.ends.contains(&(entry.ends, entry.request.id())));
            assert!(table.callers.contains_key(entry.request.caller()));
        }
    }
}

#[test]
fn what_is_known_of_how_much_there_is_stays_true() {
    let mut timed = Timed::new();
    timed.expires = Duration::from_secs(600);
    let mut ids = Vec::new();
    for step in 0..1_500_usize {
        let caller = ["alice", "bob", "carol"][step * 7 % 3];
        if let ApprovalAsked::Pending(request) = timed.ask(caller, step * 13 % 83, step % 50) {
            ids.push(request.id());
        }
        let id = ids[step * 31 % ids.len()];
        let is_pending = |timed: &Timed| {
            let request = timed.table.get(id);
            request.is_some_and(|request| request.state() == ApprovalState::Pending)
        };
        match step % 5 {
            0 if is_pending(&timed) => timed.rule(id, &Ruling::approve("dora")),
            1 if is_pending(&timed) => timed.rule(id, &Ruling::deny("dora")),
            2 if is_pending(&timed) => timed.cancel(id),
            3 => timed.pass(Duration::from_secs(97)),
            _ => {}
        }
        timed.check();
    }
    assert!(ids.len() > 100 && timed.table.ended.len() > 10);
}

#[test]
fn when_all_is_over_nothing_is_kept() {
    let mut timed = Timed::new();
    let ids = [0, 1, 2, 3].map(|number| timed.pending("alice", number, 9));
    timed.rule(ids[0], &Ruling::approve("dora"));
    timed.rule(ids[1], &Ruling::deny("dora"));
    timed.cancel(ids[2]);
    timed.pass(Duration::from_secs(86_400));
    assert_eq!(
        timed.table.entries.len(),
        3,
        "not what was taken back a day ago"
    );
    assert!(timed.table.by_digest.is_empty() && timed.table.asked.is_empty());
    assert_eq!(timed.table.bytes, 0);
    timed.pass(KNOWN_FOR - Duration::from_millis(1));
    assert_eq!(timed.table.entries.len(), 3);
    timed.pass(Duration::from_millis(1));
    let table = &timed.table;
    assert!(table.entries.is_empty() && table.ends.is_empty() && table.ended.is_empty());
    assert!(table.callers.is_empty() && table.by_digest.is_empty());
}

#[test]
fn of_what_has_ended_the_last_are_known() {
    let mut timed = Timed::new();
    let ids: Vec<_> = (0..=MOST_ENDED)
        .map(|number| {
            let id = timed.pending(&format!("caller {}", number / 50), number, 1);
            timed.cancel(id);
            id
        })
        .collect();
    let is_known = |id| timed.table.get(id).is_some();
    assert_eq!(ids.iter().filter(|id| is_known(**id)).count(), MOST_ENDED);
    assert!(!is_known(ids[0]));
}

/// They refuse the same call, and cannot be forgotten for another.
#[test]
fn what_was_denied_takes_room() {
    let mut timed = Timed::new();
    let mut number = 0;
    while number < MOST_IN_FORCE_OF_A_CALLER {
        for _ in 0..40 {
            let id = timed.pending("alice", number, 1);
            timed.rule(id, &Ruling::deny("dora"));
            number += 1;
        }
        timed.pass(HOUR);
    }
    assert_eq!(word(&timed.ask("alice", number, 1)), "full");
    assert_eq!(word(&timed.ask("alice", 0, 1)), "denied");
    assert_eq!(word(&timed.ask("bob", number, 1)), "pending");
    timed.pass(Duration::from_secs(86_400) - 5 * HOUR - Duration::from_millis(1));
    assert_eq!(word(&timed.ask("alice", number, 1)), "full");
    timed.pass(Duration::from_millis(1));
    assert_eq!(word(&timed.ask("alice", number, 1)), "pending");
}

#[test]
fn there_is_room_for_so_many_of_all_callers() {
    let mut timed = Timed::new();
    let full = (0..).find(|number| {
        let caller = format!("caller {}", number / 50);
        match timed.ask(&caller, *number, 1) {
            ApprovalAsked::Pending(request) => {
                timed.rule(request.id(), &Ruling::approve("dora"));
                false
            }
            _ => true,
        }
    });
    assert_eq!(full, Some(MOST_IN_FORCE));
}

#[test]
fn there_is_room_for_so_many_bytes() {
    let mut timed = Timed::new();
    // As if others had them.
    timed.table.bytes = MOST_BYTES - 104;
    assert_eq!(word(&timed.ask("alice", 1, 101)), "full");
    let ApprovalAsked::Pending(request) = timed.ask("alice", 1, 100) else {
        panic!("it fits");
    };
    assert_eq!(timed.table.bytes, MOST_BYTES);
    assert_eq!(word(&timed.ask("bob", 2, 1)), "full");
    timed.rule(request.id(), &Ruling::approve("dora"));
    assert_eq!(word(&timed.ask("bob", 2, 1)), "full");
    timed.cancel(request.id());
    assert_eq!(word(&timed.ask("bob", 2, 1)), "pending");
}

/// Of those who only ask and take it back.
#[test]
fn so_many_begin_in_an_hour() {
    let mut timed = Timed::new();
    let caller: Arc<str> = "somebody".into();
    let now = timed.now();
    for _ in 0..MOST_NEW_OF_ALL {
        // As if it had been somebody else each time.
        timed.table.asked.push_back((now, Arc::clone(&caller)));
    }
    let question = question(&demand(), "alice", "{}", timed.clock.now());
    let new = ApprovalRequest::new(&question).unwrap();
    assert!(!timed.table.has_room_for(&new));
    timed.clock.pass(HOUR);
    timed.now();
    assert!(timed.table.has_room_for(&new));
}
