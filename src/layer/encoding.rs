use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// Whether a body is compressed, or otherwise not what is written in it.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.any(|encoding| !is_identity(encoding))
}

/// Whether an encoding is none.
pub(super) fn is_identity(encoding: &HeaderValue) -> bool {
    encoding.as_bytes().eq_ignore_ascii_case(b"identity")
}
