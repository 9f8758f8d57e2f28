use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};
use smallvec::SmallVec;

/// Who sent a request: the name under which a policy is chosen and things are
/// counted.
///
/// An authentication layer above puts one into the extensions of the request,
/// or [`PolicyLayer::caller_with`](crate::PolicyLayer::caller_with) finds it
/// out. Without either, the caller is the peer address, if the embedder puts a
/// [`SocketAddr`](std::net::SocketAddr) or [`IpAddr`] into the extensions (an
/// IPv6 address counts by its /64 network), and else
/// [anonymous](Caller::anonymous): then all callers are one.
///
/// ```
/// use mcp_policy::Caller;
///
/// let caller = Caller::new("alice");
/// assert_eq!(caller.id(), "alice");
/// assert_eq!(Caller::anonymous().id(), "(anonymous)");
/// // Nobody gets the name of such a caller by being called so.
/// assert_eq!(Caller::new("(anonymous)").id(), "name:(anonymous)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    id: Arc<str>,
    /// `None` if there are none.
    claims: Option<Arc<Map<String, Value>>>,
}

/// Stands before names that would be taken for something else.
const NAME: &str = "name:";
/// Stands between an issuer and whom it calls so.
const ISSUED: char = '#';

impl Caller {
    /// A caller of this name, which should be one that the caller cannot
    /// choose, like the subject of a verified token.
    ///
    /// What begins with a parenthesis, or is an address or a network, has
    /// `name:` before it in the [id](Self::id), and so has what begins with that:
    /// else somebody could be called like those of whom only the address is
    /// known, or nothing.
    pub fn new(id: impl AsRef<str>) -> Self {
        let id = id.as_ref();
        if is_unlike_a_name(id) {
            Self::known_as(&format!("{NAME}{id}"))
        } else {
            Self::known_as(id)
        }
    }

    /// A caller whom an issuer of tokens calls so. Its [id](Self::id) is both, so that
    /// whoever another issuer calls the same is another caller.
    ///
    /// The issuer is a URL without `#`, as the `iss` of a token is.
    ///
    /// ```
    /// use mcp_policy::Caller;
    ///
    /// let caller = Caller::issued_by("https://login.example.com", "alice");
    /// assert_eq!(caller.id(), "https://login.example.com#alice");
    /// ```
    pub fn issued_by(issuer: &str, name: &str) -> Self {
        Self::new(format!("{issuer}{ISSUED}{name}"))
    }

    fn known_as(id: &str) -> Self {
        Self {
            id: id.into(),
            claims: None,
        }
    }

    /// Nearly every call without a name comes from such an address, and what `fmt` does
    /// to write four numbers takes ten times as long.
    fn of_address(address: Ipv4Addr) -> Self {
        let mut text: SmallVec<[u8; 16]> = SmallVec::new();
        for octet in address.octets() {
            if !text.is_empty() {
                text.push(b'.');
            }
            let mut digits = itoa::Buffer::new();
            text.extend_from_slice(digits.format(octet).as_bytes());
        }
        match std::str::from_utf8(&text) {
            Ok(text) => Self::known_as(text),
            Err(_) => Self::known_as(&address.to_string()),
        }
    }

    /// The caller of whom nothing is known.
    pub fn anonymous() -> Self {
        // Not one for all: all processors would count in one place who uses it.
        Self::known_as("(anonymous)")
    }

    /// The caller on the other end of stdio: whoever started the process.
    pub fn local() -> Self {
        Self::known_as("(local)")
    }

    /// The same caller with verified claims, like those of a token.
    #[must_use]
    pub fn with_claims(self, claims: Map<String, Value>) -> Self {
        Self {
            claims: Some(claims)
                .filter(|claims| !claims.is_empty())
                .map(Arc::new),
            ..self
        }
    }

    /// The name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name, for whoever keeps it.
    pub(crate) fn shared_id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    /// The verified claims; empty unless they were given.
    pub fn claims(&self) -> &Map<String, Value> {
        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.claims.as_deref().unwrap_or_else(|| &NONE)
    }
}

/// What an issuer may call the caller of this id.
pub(crate) fn names_by_issuers(id: &str) -> impl Iterator<Item = &str> {
    id.match_indices(ISSUED)
        .filter_map(|(at, issued)| id.get(at.saturating_add(issued.len())..))
}

/// How many bits of an IPv6 address count.
const NETWORK: &str = "/64";

/// Whether a name could be taken for a caller who has none.
fn is_unlike_a_name(id: &str) -> bool {
    let address = id.strip_suffix(NETWORK).unwrap_or(id);
    id.starts_with('(') || id.starts_with(NAME) || address.parse::<IpAddr>().is_ok()
}

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_address(address),
            // Whoever has one address of a /64 has them all.
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let network = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0);
                Self::known_as(&format!("{network}{NETWORK}"))
            }
        }
    }
}

/// Claims may hold what is nobody's business: only their names are shown.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("id", &self.id)
            .field("claims", &self.claims().keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_count_by_network() {
        let caller = |text: &str| Caller::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(caller("192.0.2.7").id(), "192.0.2.7");
        assert_eq!(caller("::ffff:192.0.2.7").id(), "192.0.2.7");
        assert_eq!(caller("2001:db8:1:2:3:4:5:6").id(), "2001:db8:1:2::/64");
    }

    #[test]
    fn an_address_is_written_as_others_write_it() {
        for octet in 0..=u8::MAX {
            let other = octet.wrapping_mul(167);
            for octets in [[octet, other, 0, 255], [other, 9, 10, octet], [octet; 4]] {
                let address = Ipv4Addr::from(octets);
                assert_eq!(Caller::from(IpAddr::V4(address)).id(), address.to_string());
            }
        }
    }

    #[test]
    fn nobody_is_called_like_a_caller_without_a_name() {
        let address = |text: &str| Caller::from(text.parse::<IpAddr>().unwrap());
        for known in [
            Caller::anonymous(),
            Caller::local(),
            address("192.0.2.7"),
            address("2001:db8::1"),
            address("::"),
            address("::ffff:192.0.2.7"),
            address("::192.0.2.7"),
        ] {
            let mut name = known.id().to_owned();
            let mut ids = vec![name.clone()];
            for _ in 0..3 {
                name = Caller::new(&name).id().to_owned();
                assert!(!ids.contains(&name), "{name}");
                ids.push(name.clone());
            }
        }
        for plain in ["alice", "10", "a(b)", "names:", "auth0|7", "", "/64"] {
            assert_eq!(Caller::new(plain).id(), plain);
        }
    }

    #[test]
    fn whom_two_issuers_call_the_same_are_two() {
        let [one, other] = ["https://a.example.com", "https://b.example.com"];
        let alice = Caller::issued_by(one, "alice");
        assert_ne!(alice.id(), Caller::issued_by(other, "alice").id());
        assert_ne!(alice.id(), Caller::new("alice").id());
        // No name makes up for another issuer.
        let within = format!("{one}/x");
        assert_ne!(
            Caller::issued_by(one, "/x#alice").id(),
            Caller::issued_by(&within, "alice").id()
        );
        let names: Vec<_> = names_by_issuers("https://a.example.com#a#b").collect();
        assert_eq!(names, ["a#b", "b"]);
    }

    #[test]
    fn claim_values_are_not_shown() {
        let claims = Map::from_iter([("team".to_owned(), Value::from("hunter2"))]);
        let shown = format!("{:?}", Caller::new("alice").with_claims(claims));
        assert!(
            shown.contains("team") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
