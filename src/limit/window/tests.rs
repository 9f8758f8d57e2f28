use super::rolling::Rolling;

/// A window whose 32nd part is 100.
const WINDOW: u64 = 3_200;

/// By time, and how much.
fn charged(entries: impl IntoIterator<Item = (u64, u64)>) -> Rolling {
    let mut rolling = Rolling::default();
    for (now, amount) in entries {
        rolling.charge(amount, WINDOW, now);
    }
    rolling
}

fn entries(rolling: &Rolling) -> Vec<(u64, u64)> {
    rolling.iter().collect()
}

#[test]
fn charges_are_told_apart_until_there_are_too_many() {
    let first = (0..33).map(|time| (3 * time, time + 1));
    let mut rolling = charged(first.clone());
    assert_eq!(entries(&rolling), first.clone().collect::<Vec<_>>());
    // The next one of the same part joins the last.
    rolling.charge(7, WINDOW, 99);
    let last = entries(&rolling).pop();
    assert_eq!(
        (rolling.iter().count(), last),
        (33, Some((99, 33 + 7))),
        "all others are as they were"
    );
    assert!(
        rolling
            .iter()
            .zip(first)
            .take(32)
            .all(|(is, was)| is == was)
    );
    // When another part begins, what is in one counts as one.
    rolling.charge(1, WINDOW, 100);
    let sum = (1..=33).sum::<u64>() + 7;
    assert_eq!(entries(&rolling), [(99, sum), (100, 1)]);
}

#[test]
fn parts_are_merged_each_by_itself() {
    // Two in each of sixteen parts, and one more.
    let two = (0..16).flat_map(|part| [(100 * part, 1), (100 * part + 99, 2)]);
    let mut rolling = charged(two.chain([(1_600, 4)]));
    rolling.charge(5, WINDOW, 1_700);
    let merged = (0..16).map(|part| (100 * part + 99, 3));
    let expected: Vec<_> = merged.chain([(1_600, 4), (1_700, 5)]).collect();
    assert_eq!(entries(&rolling), expected);
}

#[test]
fn charges_of_one_moment_count_as_one() {
    assert_eq!(
        entries(&charged([(5, 2), (5, 3), (6, 4)])),
        [(5, 5), (6, 4)]
    );
}

/// Processes do not come in the order in which they read the clock.
#[test]
fn small_steps_back_are_not_believed() {
    let mut rolling = charged([(10_000, 1)]);
    rolling.charge(2, WINDOW, 9_900);
    assert_eq!(entries(&rolling), [(10_000, 3)]);
    assert_eq!(rolling.expires_in(WINDOW, 9_900), WINDOW + 100);
    // One more, and the clock was turned.
    rolling.charge(4, WINDOW, 9_899);
    assert_eq!(entries(&rolling), [(9_899, 7)]);
    let mut various = charged([(9_000, 1), (10_000, 2)]);
    assert!(various.is_live(WINDOW, 9_500));
    assert_eq!(entries(&various), [(9_000, 1), (9_500, 2)]);
    let mut alike = charged([(9_000, 1), (10_000, 1)]);
    assert!(alike.is_live(WINDOW, 9_500));
    assert_eq!(entries(&alike), [(9_000, 1), (9_500, 1)]);
}

#[test]
fn a_part_of_what_counts_as_one_can_be_given_back() {
    let mut rolling = charged([(5, 2), (5, 3), (9, 4)]);
    rolling.give_back(3, 5, WINDOW, 10);
    assert_eq!(entries(&rolling), [(5, 2), (9, 4)]);
    rolling.give_back(4, 5, WINDOW, 10);
    assert_eq!(entries(&rolling), [(9, 2)], "what is left of the next");
}

/// Which takes half of the space.
#[test]
fn charges_that_are_alike_are_written_so() {
    let is_alike = |rolling: &Rolling| matches!(rolling, Rolling::Alike { .. });
    let mut rolling = charged([(1, 3), (2, 3), (4, 3)]);
    assert!(is_alike(&rolling));
    // Also if it is as much of another kind, once all else has expired.
    rolling.charge(5, WINDOW, 4 + WINDOW);
    assert!(is_alike(&rolling));
    assert_eq!(entries(&rolling), [(4 + WINDOW, 5)]);
    rolling.charge(6, WINDOW, 5 + WINDOW);
    assert!(!is_alike(&rolling));
}

#[test]
fn no_more_space_is_taken_than_is_soon_used() {
    for step in [0, 1] {
        let mut rolling = Rolling::default();
        for time in 0..33 {
            rolling.charge(1 + step * time, WINDOW, time);
            let (len, room) = match &rolling {
                Rolling::Alike { times, .. } => (times.len(), times.capacity()),
                Rolling::Various { entries, .. } => (entries.len(), entries.capacity()),
            };
            assert!(room < len + 5, "{room} for {len}");
        }
    }
}
