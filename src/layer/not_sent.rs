/// Says, in the extensions of a response, that no byte of the request was handed
/// to the server: what it was charged is given back then.
///
/// Only a service that knows it may say so: one that could not connect, say. What
/// may have reached the server may have run.
///
/// ```
/// use http::{Response, StatusCode};
/// use mcp_policy::NotSent;
///
/// fn could_not_connect() -> Response<String> {
///     let mut response = Response::new("The server is down.".to_owned());
///     *response.status_mut() = StatusCode::BAD_GATEWAY;
///     response.extensions_mut().insert(NotSent);
///     response
/// }
/// # assert!(could_not_connect().extensions().get::<NotSent>().is_some());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotSent;

/// Says, in the extensions of a response, that the server may still be at work on the
/// request, although this answers it: nobody waits for it any more, say. What counts
/// for as long as it is under way, counts for another minute then.
///
/// The statuses 502 and 504 say the same by themselves.
///
/// ```
/// use http::Response;
/// use mcp_policy::MayStillRun;
///
/// fn was_cancelled() -> Response<String> {
///     let mut response = Response::new("The call was cancelled.".to_owned());
///     response.extensions_mut().insert(MayStillRun);
///     response
/// }
/// # assert!(was_cancelled().extensions().get::<MayStillRun>().is_some());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MayStillRun;
