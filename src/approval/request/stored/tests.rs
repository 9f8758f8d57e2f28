use serde_json::Value;

use super::*;
use crate::approval::ApprovalQuestion;
use crate::approval::question::{Call, Demand};
use crate::approval::testing::{demand, question};
use crate::limit::testing::ManualClock;

const START: &str = "2028-02-28T23:59:30.123456Z";

fn pending() -> ApprovalRequest {
    let at = ManualClock::at(START).now();
    ApprovalRequest::new(&question(&demand(), "alice", r#"{ "a" : 1e2 }"#, at)).unwrap()
}

fn stored_again(request: &ApprovalRequest) -> ApprovalRequest {
    let shown = request.stored_shown().unwrap();
    ApprovalRequest::from_stored(&request.stored().unwrap(), shown.as_deref()).unwrap()
}

/// All that can be said of a request.
fn assert_same(one: &ApprovalRequest, other: &ApprovalRequest) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.name(), other.name());
    assert_eq!(one.reason(), other.reason());
    assert_eq!(one.arguments(), other.arguments());
    assert_eq!(one.others(), other.others());
    assert_eq!(one.note(), other.note());
}

#[test]
fn whatever_becomes_of_a_request_is_read_as_it_was_written() {
    let at = ManualClock::at(START).now().system;
    let undecided = pending();
    assert_same(&undecided, &stored_again(&undecided));
    for ruling in [
        Ruling::approve("dora").with_note("\"fine\"\n"),
        Ruling::deny("döra"),
    ] {
        let mut request = pending();
        request.decide(&ruling, at).unwrap();
        assert_same(&request, &stored_again(&request));
        request.cancel();
        assert_same(&request, &stored_again(&request));
    }
    for approves in [true, false] {
        let demand = Demand {
            approver: Approver::Caller,
            reason: None,
            ..demand()
        };
        let of_client = question(&demand, "alice", "{}", ManualClock::at(START).now());
        let mut request = ApprovalRequest::new(&of_client).unwrap();
        request.decide(&Ruling::by_caller(approves), at).unwrap();
        assert_same(&request, &stored_again(&request));
        if approves {
            assert_eq!(
                request.use_up(of_client.digest()),
                super::super::ApprovalUsed::Now
            );
            assert_same(&request, &stored_again(&request));
        }
    }
    let mut expired = pending();
    expired.expire();
    assert_same(&expired, &stored_again(&expired));
}

#[test]
fn what_else_is_approved_is_kept_too() {
    let (server, caller) = ("server".into(), "alice".into());
    let call = Call {
        server: &server,
        caller: &caller,
        method: "resources/read",
        name: "a:b",
        params: Some(br#"{"uri":"a:b","_meta":{"x":[1]}}"#),
        arguments: None,
    };
    let question = ApprovalQuestion::new(&demand(), call, ManualClock::at(START).now()).unwrap();
    let request = ApprovalRequest::new(&question).unwrap();
    assert_eq!(request.others(), Some(r#"{"_meta":{"x":[1]}}"#));
    assert_same(&request, &stored_again(&request));
}

#[test]
fn what_is_over_is_read_without_its_arguments() {
    let mut request = pending();
    let stored = request.stored().unwrap();
    request.expire();
    let over = ApprovalRequest::from_stored_when_over(&stored).unwrap();
    assert_same(&request, &over);
    assert!(ApprovalRequest::from_stored_when_over(&stored[1..]).is_err());
}

#[test]
fn what_has_ended_holds_no_arguments() {
    let mut request = pending();
    assert!(request.stored_shown().unwrap().unwrap().contains("1e2"));
    assert!(!request.stored().unwrap().contains("1e2"));
    request.cancel();
    assert_eq!(request.stored_shown().unwrap(), None);
}

/// What somebody else has written, or another version, approves nothing.
#[test]
fn what_cannot_be_read_for_certain_is_refused() {
    let request = pending();
    let (stored, shown) = (
        request.stored().unwrap(),
        request.stored_shown().unwrap().unwrap(),
    );
    let refused = |stored: &str, shown: Option<&str>| {
        let error = ApprovalRequest::from_stored(stored, shown).unwrap_err();
        assert_eq!(error, UNREADABLE);
    };
    refused(&stored, None);
    refused("", Some(&shown));
    refused(&stored, Some(""));
    for end in 0..stored.len() {
        refused(&stored[..end], Some(&shown));
    }
    let edited = |member: &str, value: Option<Value>| {
        let mut whole: Value = serde_json::from_str(&stored).unwrap();
        let members = whole.as_object_mut().unwrap();
        match value {
            Some(value) => members.insert(member.to_owned(), value),
            None => members.remove(member),
        };
        whole.to_string()
    };
    let same = edited("version", Some(1.into()));
    assert_same(
        &request,
        &ApprovalRequest::from_stored(&same, Some(&shown)).unwrap(),
    );
    for (member, value) in [
        ("version", Some(2.into())),
        ("state", Some("Pending".into())),
        ("state", Some("used".into())),
        ("id", Some("7".into())),
        ("more", Some(1.into())),
        ("caller", None),
        ("digest", Some(vec![1, 2].into())),
    ] {
        refused(&edited(member, value), Some(&shown));
    }
}
