use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::request::Parts;

use crate::caller::Caller;

/// Finds out who sent a request, from its head. A closure
/// `Fn(&Parts) -> Option<Caller>` does; see
/// [`PolicyLayer::caller_with`](crate::PolicyLayer::caller_with).
///
/// `None` leaves it to what [`Caller`] says of requests without one. What must
/// not be called without authentication is refused by the layer that
/// authenticates, above.
///
/// It may be called more than once for one request. If it panics, the request is refused.
pub trait IdentifyCaller: Send + Sync + 'static {
    /// The caller, if this can tell. Must not block.
    fn identify(&self, head: &Parts) -> Option<Caller>;
}

impl<F> IdentifyCaller for F
where
    F: Fn(&Parts) -> Option<Caller> + Send + Sync + 'static,
{
    fn identify(&self, head: &Parts) -> Option<Caller> {
        self(head)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<I: IdentifyCaller + ?Sized> IdentifyCaller for Arc<I> {
    fn identify(&self, head: &Parts) -> Option<Caller> {
        (**self).identify(head)
    }
}

/// The caller that the extensions of a request tell of.
pub(super) fn from_extensions(head: &Parts) -> Caller {
    let extensions = &head.extensions;
    if let Some(caller) = extensions.get::<Caller>() {
        return caller.clone();
    }
    let peer = extensions
        .get::<SocketAddr>()
        .map(SocketAddr::ip)
        .or_else(|| extensions.get::<IpAddr>().copied());
    peer.map_or_else(Caller::anonymous, Caller::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller<T: Clone + Send + Sync + 'static>(extension: T) -> String {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.extensions.insert(extension);
        from_extensions(&head).id().to_owned()
    }

    #[test]
    fn the_caller_goes_before_the_address() {
        let address: IpAddr = [192, 0, 2, 7].into();
        assert_eq!(caller(Caller::new("alice")), "alice");
        assert_eq!(caller(address), "192.0.2.7");
        assert_eq!(caller(SocketAddr::new(address, 80)), "192.0.2.7");
        assert_eq!(caller(()), "(anonymous)");
    }
}
