use super::*;
use crate::approval::question::{Call, Demand};
use crate::approval::testing::{demand, question};
use crate::limit::testing::ManualClock;

const START: &str = "2026-11-25T04:59:00Z";

fn request(arguments: &str) -> ApprovalRequest {
    let at = ManualClock::at(START).now();
    ApprovalRequest::new(&question(&demand(), "alice", arguments, at)).unwrap()
}

#[test]
fn ids_are_read_as_they_are_written() {
    for _ in 0..100 {
        let id = ApprovalId::new().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(format!("{id:?}"), format!("ApprovalId({id})"));
    }
    let id: ApprovalId = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
    assert_eq!(
        id.0,
        std::array::from_fn(|byte| u8::try_from(byte).unwrap())
    );
    for text in [
        "",
        "0",
        "000102030405060708090a0b0c0d0e0",
        "000102030405060708090a0b0c0d0e0f0",
        "000102030405060708090A0B0C0D0E0F",
        "+00102030405060708090a0b0c0d0e0f",
        " 00102030405060708090a0b0c0d0e0f",
        "000102030405060708090a0b0c0d0e0g",
        "000102030405060708090a0b0c0d0é",
    ] {
        assert_eq!(
            text.parse::<ApprovalId>(),
            Err(ApprovalIdError(())),
            "{text}"
        );
    }
}

/// Each of the 128 bits is set in some and not in others.
#[test]
fn ids_cannot_be_guessed() {
    let ids: Vec<_> = (0..200)
        .map(|_| u128::from_be_bytes(ApprovalId::new().unwrap().0))
        .collect();
    assert_eq!(ids.iter().fold(0, |all, id| all | id), u128::MAX);
    assert_eq!(ids.iter().fold(u128::MAX, |all, id| all & id), 0);
}

#[test]
fn arguments_are_shown_as_they_were_sent_up_to_a_bound() {
    let text = r#" { "a" : 1e2 } "#;
    let shown = ShownArguments::of(text);
    assert_eq!((shown.text(), shown.cut()), (text, 0));
    let just = "x".repeat(MOST_SHOWN);
    assert_eq!(ShownArguments::of(&just).cut(), 0);
    let long = format!("{just}yz");
    let shown = ShownArguments::of(&long);
    assert_eq!((shown.text(), shown.cut()), (&*just, 2));
    // Not in the middle of a character.
    let long = format!("{}€", "x".repeat(MOST_SHOWN - 1));
    let shown = ShownArguments::of(&long);
    assert_eq!((shown.text().len(), shown.cut()), (MOST_SHOWN - 1, 3));
}

#[test]
fn nothing_is_shown_by_accident() {
    let mut request = request(r#"{"to":"hunter2"}"#);
    let ruling = Ruling::approve("dora").with_note("hunter2 is fine");
    request.decide(&ruling, request.created_at()).unwrap();
    assert_eq!(request.arguments().unwrap().text(), r#"{"to":"hunter2"}"#);
    let at = ManualClock::at(START).now();
    let asked = question(&demand(), "alice", r#"{"to":"hunter2"}"#, at);
    for shown in [
        format!("{request:?}"),
        format!("{ruling:?}"),
        format!("{asked:?}"),
        format!("{:?}", request.arguments()),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert!(format!("{request:?}").contains("/tools/pay/require_approval"));
}

#[test]
fn of_a_uri_only_what_names_something_is_shown() {
    let (server, caller): (Arc<str>, Arc<str>) = ("server".into(), "alice".into());
    let call = Call {
        server: &server,
        caller: &caller,
        method: "resources/read",
        name: "https://alice:hunter2@h/p?token=hunter2",
        params: None,
        arguments: None,
    };
    let at = ManualClock::at(START).now();
    let asked = ApprovalQuestion::new(&demand(), call, at).unwrap();
    let request = ApprovalRequest::new(&asked).unwrap();
    assert_eq!(request.name(), call.name);
    assert_eq!(request.arguments(), None);
    let shown = format!("{request:?}");
    assert!(
        shown.contains("https://h/p") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_read_cannot_be_asked() {
    let (server, caller): (Arc<str>, Arc<str>) = ("server".into(), "alice".into());
    let call = Call {
        server: &server,
        caller: &caller,
        method: "tools/call",
        name: "pay",
        params: Some(br#"{"name":"pay","name":"play"}"#),
        arguments: None,
    };
    let unasked = ApprovalQuestion::new(&demand(), call, ManualClock::at(START).now());
    let unasked = unasked.unwrap_err();
    assert_eq!(
        unasked.to_string(),
        "an object has two members of the same name (at byte 15)"
    );
}

/// Whatever else is tried, nothing comes of what has ended.
#[test]
fn what_has_ended_stays_so() {
    type End = fn(&mut ApprovalRequest);
    let ends: [(End, ApprovalState); 4] = [
        (
            |request| assert!(request.cancel()),
            ApprovalState::Cancelled,
        ),
        (|request| assert!(request.expire()), ApprovalState::Expired),
        (
            |request| {
                let ruling = Ruling::deny("dora");
                assert_eq!(request.decide(&ruling, request.created_at()), Ok(()));
            },
            ApprovalState::Denied,
        ),
        (
            |request| {
                let ruling = Ruling::approve("dora");
                assert_eq!(request.decide(&ruling, request.created_at()), Ok(()));
                let digest = *request.digest();
                assert_eq!(request.use_up(&digest), ApprovalUsed::Now);
            },
            ApprovalState::Used,
        ),
    ];
    for (end, state) in ends {
        let mut request = request("{}");
        end(&mut request);
        let digest = *request.digest();
        let used = request.use_up(&digest);
        assert_eq!(used == ApprovalUsed::Before, state == ApprovalState::Used);
        assert_ne!(used, ApprovalUsed::Now);
        assert!(!request.cancel() && !request.expire());
        for ruling in [Ruling::approve("dora"), Ruling::deny("dora")] {
            let decided = request.decide(&ruling, request.created_at());
            assert_eq!(decided, Err(NotDecided::NotPending(state)));
        }
        assert_eq!(request.state(), state);
        assert!(!state.is_open());
        assert_eq!(request.arguments(), None);
    }
}

/// Also of a caller who is called like an address or like somebody without a name.
#[test]
fn operators_are_told_from_callers_by_their_names() {
    let caller = |name: &str| crate::caller::Caller::new(name).id().to_owned();
    for name in ["alice", "192.0.2.7", "(local)", "name:x", "Straße"] {
        assert!(is_same_person(name, &caller(name)), "{name}");
        assert!(is_same_person(&caller(name), &caller(name)), "{name}");
        assert!(!is_same_person("dora", &caller(name)), "{name}");
    }
    assert!(is_same_person(
        "(local)",
        crate::caller::Caller::local().id()
    ));
    for issued in ["https://login.example.com#Alice", "https://a#b#alice"] {
        assert!(is_same_person("alice", issued), "{issued}");
        assert!(!is_same_person("dora", issued), "{issued}");
    }
    assert!(is_same_person("STRASSE", "straße"));
    assert!(is_same_person("al\u{200b}ice", "alice"));
    assert!(!is_same_person("alice", "alice2"));
}

#[test]
fn notes_are_bounded() {
    let ruling = Ruling::approve("dora").with_note(&"é".repeat(1_001));
    assert_eq!(ruling.note(), Some(&*"é".repeat(1_000)));
    let words = [
        NotDecided::Unknown,
        NotDecided::NotPending(ApprovalState::Used),
        NotDecided::OwnRequest,
        NotDecided::Nameless,
    ];
    let words = words.map(|why| why.to_string());
    assert_eq!(words[1], "the request does not wait: it is used");
}

#[test]
fn a_time_beyond_all_time_is_over_at_once() {
    let demand = Demand {
        expires: Duration::MAX,
        ..demand()
    };
    let at = ManualClock::at(START).now();
    let request = ApprovalRequest::new(&question(&demand, "alice", "{}", at)).unwrap();
    assert_eq!(request.expires_at(), at.system);
}
