use super::*;

/// Drops events whose data holds `drop`, rewrites those that hold `swap`.
fn judge(event: Event<'_>) -> Verdict {
    let data = String::from_utf8_lossy(event.data);
    if data.contains("drop") {
        Verdict::Drop
    } else if data.contains("swap") {
        Verdict::Rewrite(data.replace("swap", "SWAP").into_bytes())
    } else {
        Verdict::Forward
    }
}

fn passed(chunks: &[&[u8]]) -> String {
    let mut splitter = Splitter::new(1024);
    let mut out = VecDeque::new();
    for chunk in chunks {
        let chunk = Bytes::copy_from_slice(chunk);
        splitter.push(chunk, &mut judge, &mut out).unwrap();
    }
    String::from_utf8(out.iter().flatten().copied().collect()).unwrap()
}

const STREAMS: &[(&str, &str)] = &[
    ("data: a\n\n", "data: a\n\n"),
    ("data:a\r\n\r\ndata: b\r\r", "data:a\r\n\r\ndata: b\r\r"),
    ("data: a\r\r\ndata: b\n\n", "data: a\r\r\ndata: b\n\n"),
    ("\u{feff}data: drop\n\ndata: b\n\n", "data: b\n\n"),
    ("\u{feff}data: a\n\n", "\u{feff}data: a\n\n"),
    ("data: a\n\n\u{feff}data: swap\n\n", "data: a\n\n\n"),
    ("id: 1\ndata:\nretry: 5\n\n", "id: 1\ndata:\nretry: 5\n\n"),
    (": keep-alive\r\n", ": keep-alive\r\n"),
    (":\n\n:\r:\r\n\n", ":\n\n:\r:\r\n\n"),
    ("data: drop\r\n\r\ndata: a\n\n", "data: a\n\n"),
    ("data: dr\ndata: op\n\n", "data: dr\ndata: op\n\n"),
    (
        "id: 1\nevent: message\r\ndata: swap\r\n\r\n",
        "id: 1\nevent: message\ndata: SWAP\n\n",
    ),
    (
        "data: {\ndata: swap}\r\rdata: a\n\n",
        "data: {\ndata: SWAP}\n\ndata: a\n\n",
    ),
    ("junk\ndata: a\nDATA: {}\n: {\"x\"\n\n", "data: a\n\n"),
    ("data: a\rjunk\n\ndata: b\n\n", "data: a\n\ndata: b\n\n"),
    ("data: a\n: note\n\n", "data: a\n: note\n\n"),
    ("data\n\n", "data\n\n"),
    ("data: never ends", ""),
    ("data: a\n\ndata: drop\n", "data: a\n\n"),
];

#[test]
fn events_are_judged_and_the_rest_keeps_its_bytes() {
    for (stream, expected) in STREAMS {
        assert_eq!(passed(&[stream.as_bytes()]), *expected, "{stream:?}");
    }
}

#[test]
fn where_the_stream_is_cut_changes_nothing() {
    for (stream, expected) in STREAMS {
        let bytes = stream.as_bytes();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(passed(&single), *expected, "{stream:?}, byte by byte");
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(
                    passed(&chunks),
                    *expected,
                    "{stream:?} at {first}, {second}"
                );
            }
        }
    }
}

/// Whoever looks ahead sees what is judged then, wherever the stream is cut, and what
/// is judged stays the same.
#[test]
fn what_is_looked_at_is_what_is_judged() {
    let all: String = STREAMS.iter().map(|(stream, _)| *stream).collect();
    let ends = ["data: a\r", "\ndata: b\r\r", "\n\ndata: c\n\n"].concat();
    for stream in STREAMS
        .iter()
        .map(|(stream, _)| *stream)
        .chain([&*all, &*ends])
    {
        for length in 1..=stream.len() {
            let (mut splitter, mut plain) = (Splitter::new(1024), Splitter::new(1024));
            let (mut out, mut expected) = (VecDeque::new(), VecDeque::new());
            for chunk in stream.as_bytes().chunks(length).map(Bytes::copy_from_slice) {
                let said = |event: Event<'_>| (event.name.to_vec(), event.data.to_vec());
                let (mut seen, mut judged) = (Vec::new(), Vec::new());
                splitter.look_at(&chunk, &mut |event| seen.push(said(event)));
                let mut noted = |event: Event<'_>| {
                    judged.push(said(event));
                    judge(event)
                };
                splitter.push(chunk.clone(), &mut noted, &mut out).unwrap();
                plain.push(chunk, &mut judge, &mut expected).unwrap();
                assert_eq!(seen, judged, "{stream:?} in pieces of {length}");
                assert_eq!(out, expected, "{stream:?} in pieces of {length}");
            }
        }
    }
}

/// However often it is looked at: an event of many chunks would be copied with each.
#[test]
fn what_is_held_is_not_copied_to_be_looked_at() {
    let mut splitter = Splitter::new(1 << 20);
    let push = |splitter: &mut Splitter, chunk: &'static [u8]| {
        let chunk = Bytes::from_static(chunk);
        let mut seen = Vec::new();
        let mut look = |event: Event<'_>| seen.push((event.data.as_ptr(), event.data.len()));
        splitter.look_at(&chunk, &mut look);
        splitter
            .push(chunk, &mut judge, &mut VecDeque::new())
            .unwrap();
        seen
    };
    assert!(push(&mut splitter, b"data: begins").is_empty());
    splitter.held.reserve(1024);
    let held = splitter.held.as_ptr();
    for _ in 0..10 {
        assert!(push(&mut splitter, b" and goes on").is_empty());
    }
    let data = held.wrapping_add("data: ".len());
    let length = "begins".len() + 10 * " and goes on".len();
    assert_eq!(push(&mut splitter, b"\n\n"), [(data, length)]);
}

#[test]
fn keep_alives_and_complete_events_do_not_wait() {
    let mut splitter = Splitter::new(1024);
    let mut out = VecDeque::new();
    for (chunk, expected) in [
        (":\r", ":\r"),
        ("\n", "\n"),
        ("data: a\n", ""),
        ("\r", "data: a\n\r"),
        ("data: b", ""),
        ("\n\ndata: c", "data: b\n\n"),
    ] {
        splitter.push(chunk.into(), &mut judge, &mut out).unwrap();
        let passed: Vec<u8> = out.drain(..).flatten().collect();
        assert_eq!(
            String::from_utf8(passed).unwrap(),
            expected,
            "after {chunk:?}"
        );
    }
}

#[test]
fn lines_that_some_client_splits_differently_are_left_out() {
    for separator in [
        "\u{2028}", "\u{85}", "\u{b}", "\u{c}", "\u{1c}", "{", "\u{7f}",
    ] {
        for field in ["id: ", "event: ", "retry: ", ": "] {
            let stream = format!("{field}1{separator}data: x\ndata: a\n\n");
            assert_eq!(passed(&[stream.as_bytes()]), "data: a\n\n", "{stream:?}");
        }
    }
}

#[test]
fn an_event_of_very_many_lines_is_refused() {
    let mut splitter = Splitter::new(1 << 30);
    let chunk = Bytes::from("data\n".repeat(16_385));
    let result = splitter.push(chunk, &mut judge, &mut VecDeque::new());
    assert_eq!(result, Err(TooLarge));
    let chunk = Bytes::from("data\n".repeat(16_383) + "\n");
    let result = Splitter::new(1 << 30).push(chunk, &mut judge, &mut VecDeque::new());
    assert_eq!(result, Ok(()));
    // Empty lines are no event, and one slice.
    let mut out = VecDeque::new();
    let chunk = Bytes::from("\n".repeat(100_000));
    Splitter::new(64).push(chunk, &mut judge, &mut out).unwrap();
    assert_eq!(out.len(), 1);
}

#[test]
fn untouched_events_are_slices_of_the_input() {
    let chunk = Bytes::from_static(b"data: drop\n\ndata: b\n\n");
    let mut out = VecDeque::new();
    Splitter::new(64)
        .push(chunk.clone(), &mut judge, &mut out)
        .unwrap();
    assert_eq!(out[0].as_ptr(), chunk[12..].as_ptr());
}

#[test]
fn an_endless_event_is_refused() {
    let mut splitter = Splitter::new(100);
    let mut out = VecDeque::new();
    let chunk = Bytes::from_static(b"data: 0123456789\n");
    let results: Vec<_> = (0..8)
        .map(|_| splitter.push(chunk.clone(), &mut judge, &mut out))
        .collect();
    assert!(results[..5].iter().all(Result::is_ok));
    assert_eq!(results[7], Err(TooLarge));
    assert!(out.is_empty());
    for (length, result) in [(100, Ok(())), (101, Err(TooLarge))] {
        let chunk = Bytes::from(vec![b'x'; length]);
        assert_eq!(Splitter::new(100).push(chunk, &mut judge, &mut out), result);
    }
}

#[test]
fn an_event_without_data_says_nothing() {
    for stream in [
        "event: endpoint\ndata:\n\n",
        "event: endpoint\ndata\n\n",
        "id: 1\n\n",
    ] {
        let mut out = VecDeque::new();
        let mut unasked = |event: Event<'_>| panic!("{event:?}");
        Splitter::new(64)
            .push(stream.into(), &mut unasked, &mut out)
            .unwrap();
        assert_eq!(out, [stream]);
    }
}
