//! Which trace a message belongs to: `traceparent` in `params._meta` (SEP-414).

/// Bytes of a `traceparent` of W3C Trace Context, as far as its parts are known.
const LENGTH: usize = 55;

/// The trace, the span and the flags that a `traceparent` names; `None` if it is none.
///
/// Of later versions only what the first one has is kept, as its specification asks.
pub(crate) fn trace_parent(text: &str) -> Option<&str> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let mut part = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        part.bytes().all(is_hex).then_some(part)
    };
    let (version, trace, span, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_nothing = |part: &str| part.bytes().all(|byte| byte == b'0');
    let ends = match version {
        "ff" => return None,
        "00" => rest.is_empty(),
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    (ends && parts.next().is_none() && !is_nothing(trace) && !is_nothing(span)).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_parent_names_a_trace_and_a_span() {
        assert_eq!(trace_parent(GOOD), Some(GOOD));
        let later = format!("cc{}", &GOOD[2..]);
        assert_eq!(trace_parent(&later), Some(&*later));
        assert_eq!(trace_parent(&format!("{later}-what-is-new")), Some(&*later));
    }

    #[test]
    fn what_is_no_trace_parent_names_nothing() {
        for wrong in [
            "",
            &GOOD[..54],
            &format!("{GOOD}0"),
            &format!("{GOOD}-more"),
            &GOOD.to_ascii_uppercase(),
            &format!("ff{}", &GOOD[2..]),
            &format!("cc{}x", &GOOD[2..]),
            &GOOD.replace("-01", "_01"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é",
        ] {
            assert_eq!(trace_parent(wrong), None, "{wrong}");
        }
    }
}
