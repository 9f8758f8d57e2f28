use super::looks::look;
use super::*;
use crate::policy::pattern::Name;

#[test]
fn a_key_is_read_in_two_ways_where_its_first_star_hides_the_host() {
    for (key, first, second) in [
        ("HTTP://A/B", "http://a/B", None),
        ("HTTP://A/*B", "http://a/*B", None),
        ("HTTP://A*B/C", "http://a*B/C", Some("http://a*b/C")),
        ("HTTP://AA*B/C", "http://aa*B/C", Some("http://aa*b/C")),
        (r"HTTP://A\*B*C", r"http://a\*b*C", Some(r"http://a\*b*c")),
        (r"HTTP://A\\*C", r"http://a\\*C", Some(r"http://a\\*c")),
    ] {
        let (one, other) = spelled_key(key);
        assert_eq!((&*one, other.as_deref()), (first, second), "{key}");
    }
}

#[test]
fn a_longer_text_is_in_no_uri() {
    assert!(!is_never_inside(&"a".repeat(LONGEST)));
    for length in [LONGEST + 1, LONGEST + 2] {
        assert!(is_never_inside(&"a".repeat(length)));
    }
}

#[test]
fn the_usual_port_goes_without_saying() {
    for (uri, same) in [
        ("http://h/a", "http://h:80/a"),
        ("https://h/a", "https://h:443/a"),
        ("wss://h/a", "wss://h:443/a"),
        ("ftp://h/a", "ftp://h:21/a"),
        ("http://[::1]/a", "http://[::1]:80/a"),
    ] {
        for (one, other) in [(uri, same), (same, uri)] {
            assert!(looks(one).contains(&look(other)), "{one} {other}");
        }
    }
    assert!(!looks("x://h/a").contains(&look("x://h:80/a")));
}

#[test]
fn a_slash_at_the_end_counts_for_nothing() {
    let folded = |text: &str| match Name::parse(text) {
        Ok(Name::Pattern(pattern)) => folded_pattern(&pattern),
        other => panic!("{text:?} is no pattern: {other:?}"),
    };
    assert_eq!(folded("x:*/a/"), folded("x:*/a"));
    // All of it is one slash: nothing would be left to tell by.
    assert_ne!(folded("x:*/"), folded("x:*"));
}

#[test]
fn what_no_uri_holds_is_escaped() {
    let plain = "a:/b?c=%20&d[0]~";
    assert!(matches!(escaped(plain), Cow::Borrowed(text) if text == plain));
    assert_eq!(escaped("a{b} \u{e9}\"<\n"), "a%7Bb%7D%20%C3%A9%22%3C%0A");
}
