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
