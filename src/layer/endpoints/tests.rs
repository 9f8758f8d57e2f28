use super::*;

fn event() -> Bytes {
    Bytes::from_static(b"data: x\n\n")
}

/// One of so many callers that none of them has more streams than one may have; the
/// first is alice.
fn one_of(number: usize) -> Caller {
    match number % (MOST_STREAMS / MOST_OF_ONE + 1) {
        0 => Caller::new("alice"),
        other => Caller::new(other.to_string()),
    }
}

fn delivers(endpoints: &Endpoints, target: &'static str) -> bool {
    endpoints.deliver(&Uri::from_static(target), &Caller::new("alice"), event)
}

#[test]
fn a_stream_is_found_by_what_it_announced() {
    let endpoints = Arc::<Endpoints>::default();
    let stream = endpoints
        .announce(b"/mcp/messages?sessionId=1", &Caller::new("alice"))
        .unwrap()
        .unwrap();
    assert!(delivers(&endpoints, "/messages?sessionId=1"));
    assert!(!delivers(&endpoints, "/messages?sessionId=2"));
    let target = Uri::from_static("/messages?sessionId=1");
    assert!(endpoints.may_post(&target, &Caller::new("alice")));
    assert!(!endpoints.may_post(&target, &Caller::new("bob")));
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(stream.poll(&mut context), Poll::Ready(event()));
    assert!(stream.poll(&mut context).is_pending());
    drop(stream);
    assert!(!delivers(&endpoints, "/messages?sessionId=1"));
    assert!(lock(&endpoints.streams).by_address.is_empty());
}

#[test]
fn a_session_of_another_caller_is_known_however_it_is_written() {
    for (announced, targets) in [
        (
            "/m?sessionId=ab-1",
            &[
                "/m?sessionId=ab-1",
                "/m?sessionId=ab-1&x",
                "/m?x=y&sessionId=ab-1",
                "/m?&sessionId=ab-1",
                "/m?sessionId=%61b-1",
                "/m?session%49d=ab-1",
                "/m?sessionId=AB-1",
                "/m?session_id=ab-1",
                "/m?sessionId=bobs&sessionId=ab-1",
                "/m?sessionId=ab-1;x",
                "/other/?sessionId=ab-1",
                "/m?sessionId=%7Bab-1%7D",
                "/m?sessionId=urn:uuid:ab-1",
                "/m?sessionId=ab1",
                "/m?sessionId=+ab-1",
                "/m?sessionId=%20ab-1",
                "/m?sessionId=ab-1%00",
                "/m?sessionId=%2561b-1",
            ][..],
        ),
        (
            "/m/ab-12345678",
            &[
                "/m/ab-12345678",
                "/m/ab-12345678/",
                "/m/ab-12345678?x",
                "/m/%61b-12345678",
                "/m/%2561b-12345678",
                "/m/AB-12345678",
                "/m/ab-12345678/x",
                "/m%2Fab-12345678",
                "/m/ab-12345678%2F",
                "/m/ab-12345678;x=1",
                "/m/ab-12345678/./././././././././././././././././.",
            ],
        ),
        (
            "/m?sid=ab-12345678",
            &[
                "/m?sid=ab-12345678&x",
                "/m?x&sid=ab-12345678",
                "/m?sid=%61b-12345678",
                "/x?AB-12345678",
            ],
        ),
        ("/m?sessionId=urn:uuid:", &["/m?sessionId=URN:UUID:"]),
        (
            "/s/ab-12345678/message?v=2",
            &["/s/ab-12345678/message", "/s/x/../ab-12345678/message"],
        ),
    ] {
        let endpoints = Arc::<Endpoints>::default();
        let stream = endpoints.announce(announced.as_bytes(), &Caller::new("alice"));
        let may_post = |target: &&str, caller: &str| {
            endpoints.may_post(&target.parse().unwrap(), &Caller::new(caller))
        };
        for target in targets {
            assert!(!may_post(target, "bob"), "{target} of {announced}");
            // A path with dots in it is nobody's.
            let is_simple = !target.contains("/.");
            assert_eq!(
                may_post(target, "alice"),
                is_simple,
                "{target} of {announced}"
            );
        }
        assert!(may_post(&"/m?sessionId=bobs", "bob"));
        assert!(may_post(&"/m/bobs-12345678?v=2", "bob"));
        // One of both callers' is nobody's secret.
        let other = endpoints.announce(announced.as_bytes(), &Caller::new("bob"));
        assert!(may_post(&targets[0], "bob"));
        drop(stream);
        assert!(!may_post(&targets[0], "alice"));
        drop(other);
        assert!(may_post(&targets[0], "alice"));
        assert!(lock(&endpoints.owners).is_empty());
    }
}

#[test]
fn an_address_that_names_no_session_keeps_nobody_out() {
    for announced in [
        "/mcp",
        "/messages?v=2",
        "/m?sessionId=",
        "/sse/message?sessionId=message",
    ] {
        let endpoints = Arc::<Endpoints>::default();
        let stream = endpoints.announce(announced.as_bytes(), &Caller::new("alice"));
        assert!(matches!(stream, Ok(Some(_))));
        for target in ["/mcp", "/messages?v=2", "/sse/message?sessionId=bobs", "/m"] {
            let target = Uri::from_static(target);
            assert!(
                endpoints.may_post(&target, &Caller::new("bob")),
                "{announced} {target}"
            );
        }
    }
}

#[test]
fn nobody_hears_what_another_caller_is_refused() {
    let endpoints = Arc::<Endpoints>::default();
    let _stream = endpoints.announce(b"/messages", &Caller::new("bob"));
    assert!(!delivers(&endpoints, "/messages"));
}

#[test]
fn without_a_query_the_last_segment_tells() {
    let endpoints = Arc::<Endpoints>::default();
    let _stream = endpoints.announce(b"/mcp/one/", &Caller::new("alice"));
    assert!(delivers(&endpoints, "/one"));
    assert!(!delivers(&endpoints, "/two"));
}

#[test]
fn addresses_may_be_relative() {
    for address in [
        "messages?sessionId=1",
        "?sessionId=1",
        "http://h/m?sessionId=1#x",
    ] {
        let endpoints = Arc::<Endpoints>::default();
        let stream = endpoints.announce(address.as_bytes(), &Caller::new("alice"));
        assert!(
            matches!(stream, Ok(Some(_))) && delivers(&endpoints, "/m?sessionId=1"),
            "{address}"
        );
    }
}

#[test]
fn an_address_of_two_streams_is_nobodys() {
    let endpoints = Arc::<Endpoints>::default();
    let announce = || endpoints.announce(b"http://h/messages", &Caller::new("alice"));
    let mut streams: Vec<_> = (0..3).map(|_| announce()).collect();
    assert!(!delivers(&endpoints, "/messages"));
    // Two are still there when another one comes.
    streams.pop();
    streams.push(announce());
    assert!(!delivers(&endpoints, "/messages"));
    drop(streams);
    assert!(lock(&endpoints.streams).by_address.is_empty());
}

#[test]
fn a_stream_that_is_not_read_takes_no_more() {
    let endpoints = Arc::<Endpoints>::default();
    let _stream = endpoints
        .announce(b"/m?s=1", &Caller::new("alice"))
        .unwrap()
        .unwrap();
    let delivered = (0..10_000)
        .filter(|_| delivers(&endpoints, "/m?s=1"))
        .count();
    assert_eq!(delivered, MOST_WAITING / event().len());
    let _stream = endpoints
        .announce(b"/m?s=2", &Caller::new("alice"))
        .unwrap()
        .unwrap();
    let target = Uri::from_static("/m?s=2");
    let all_of_it = || Bytes::from(vec![b'x'; MOST_WAITING]);
    assert!(endpoints.deliver(&target, &Caller::new("alice"), all_of_it));
    assert!(!delivers(&endpoints, "/m?s=2"));
}

#[test]
fn only_so_many_streams_are_remembered() {
    let different = |number: usize| format!("/m?s={number}");
    let shared = |_: usize| "/m".to_owned();
    for address in [&different as &dyn Fn(usize) -> String, &shared] {
        let endpoints = Arc::<Endpoints>::default();
        let announce = |number: usize| {
            let announced = endpoints.announce(address(number).as_bytes(), &one_of(number));
            announced.unwrap()
        };
        let mut streams: Vec<_> = (0..MOST_STREAMS).map(announce).collect();
        assert!(streams.iter().all(Option::is_some));
        assert!(announce(MOST_STREAMS).is_none());
        streams.pop();
        assert!(announce(MOST_STREAMS).is_some());
    }
}

#[test]
fn an_address_is_nobodys_although_not_all_of_its_streams_are_remembered() {
    let endpoints = Arc::<Endpoints>::default();
    let announce = |number: usize| {
        let address = format!("/m?s={number}");
        let announced = endpoints.announce(address.as_bytes(), &one_of(number));
        announced.unwrap()
    };
    let streams: Vec<_> = (0..MOST_STREAMS).map(announce).collect();
    assert!(delivers(&endpoints, "/m?s=0"));
    assert!(announce(0).is_none());
    assert!(!delivers(&endpoints, "/m?s=0"));
    drop(streams);
    assert!(lock(&endpoints.streams).by_address.is_empty());
    assert!(lock(&endpoints.streams).of_caller.is_empty());
}

#[test]
fn who_has_too_many_streams_keeps_nobody_from_owning_a_session() {
    let endpoints = Arc::<Endpoints>::default();
    let announce = |number: usize, caller: &Caller| {
        endpoints.announce(format!("/m?sessionId={number}").as_bytes(), caller)
    };
    let [alice, bob] = ["alice", "bob"].map(Caller::new);
    let mut streams: Vec<_> = (0..MOST_OF_ONE).map(|of| announce(of, &alice)).collect();
    assert!(streams.iter().all(Result::is_ok));
    // A session of hers that is not told to her is none that others could POST to.
    assert_eq!(announce(MOST_OF_ONE, &alice).err(), Some(Unfit::NoRoom));
    let of_bob = announce(usize::MAX, &bob).unwrap();
    let target = format!("/m?sessionId={}", usize::MAX).parse().unwrap();
    assert!(of_bob.is_some() && !endpoints.may_post(&target, &alice));
    streams.pop();
    assert!(announce(MOST_OF_ONE, &alice).is_ok());
}

#[test]
fn a_session_that_nobody_could_own_is_not_told() {
    let endpoints = Arc::<Endpoints>::default();
    let announce = |number: usize| {
        let address = format!("/m?sessionId={number}");
        endpoints.announce(address.as_bytes(), &one_of(number))
    };
    let streams: Vec<_> = (0..MOST_STREAMS).map(announce).collect();
    assert!(streams.iter().all(Result::is_ok));
    assert_eq!(announce(MOST_STREAMS).err(), Some(Unfit::NoRoom));
}

#[test]
fn an_address_that_takes_too_much_to_remember_is_not_told() {
    let endpoints = Arc::<Endpoints>::default();
    let is_told = |address: &str| {
        let announced = endpoints.announce(address.as_bytes(), &Caller::new("alice"));
        announced.is_ok_and(|announced| announced.is_some())
    };
    let long = |bytes: usize| format!("/m?s={}", "x".repeat(bytes - "/m?s=".len()));
    assert!(is_told(&long(LONGEST_ADDRESS)));
    assert!(!is_told(&long(LONGEST_ADDRESS + 1)));
    // A client could not POST to these while anybody has a session.
    let segments = |count: usize| "/a".repeat(count - 1);
    let pairs = |count: usize| format!("/m?{}", vec!["a=b"; count].join("&"));
    assert!(is_told(&segments(MOST_SEGMENTS)) && is_told(&pairs(MOST_SEGMENTS)));
    assert!(!is_told(&segments(MOST_SEGMENTS + 1)));
    assert!(!is_told(&segments(MOST_SEGMENTS + 1).replace('/', "%2F")));
    assert!(!is_told(&pairs(MOST_SEGMENTS + 1)));
    assert!(
        endpoints
            .announce(b"/m?s=\xff", &Caller::new("alice"))
            .is_err()
    );
}
