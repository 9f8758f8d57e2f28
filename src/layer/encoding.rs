use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// Whether a body is compressed, or otherwise not what is written in it.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
