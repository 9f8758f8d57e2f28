//! `host_in`: which host a URL leads to, if every reader agrees on it.

use url::Host;

use super::truth::Truth;

/// Longer than any host with its port.
const LONGEST: usize = 300;

/// The hosts that a URL may lead to.
#[derive(Clone, Debug)]
pub(super) struct Hosts(Vec<Entry>);

/// A host, or what hosts end with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// With its leading dot if it is a suffix.
    host: Box<str>,
    suffix: bool,
    port: Option<u16>,
}

impl Hosts {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self(entries)
    }

    /// Whether a URL leads to one of them.
    pub(super) fn has(&self, url: &str) -> Truth {
        match Target::of(url) {
            Some(target) => Truth::from(self.0.iter().any(|entry| entry.is(&target))),
            None => Truth::Undecidable,
        }
    }
}

impl Entry {
    /// The entry, or how to mend it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains("://") || text.contains(['/', '?', '#', '@']) {
            return Err("only the host stands here: no scheme, no path, no user");
        }
        if text.contains('*') {
            return Err("`.a.dev` stands for every host that ends so; there is no `*`");
        }
        if !text.is_ascii() {
            return Err("write the name of the host in ASCII, as `xn--...`");
        }
        if text.contains(|c: char| c.is_ascii_uppercase()) {
            return Err("write the host in lower case");
        }
        const HELP: &str = "write `a.dev`, `.a.dev`, `a.dev:8443`, `127.0.0.1` or `[::1]`";
        let (host, port) = split_port(text).ok_or(HELP)?;
        let suffix = host.starts_with('.');
        if !is_canonical(host.strip_prefix('.').unwrap_or(host)) {
            return Err(HELP);
        }
        Ok(Self {
            host: host.into(),
            suffix,
            port,
        })
    }

    fn is(&self, target: &Target) -> bool {
        let host = if self.suffix {
            target.host.ends_with(&*self.host)
        } else {
            target.host == *self.host
        };
        let port = target
            .port
            .is_none_or(|port| port == target.default_port || Some(port) == self.port);
        host && port
    }
}

/// Where a URL leads.
struct Target {
    host: String,
    port: Option<u16>,
    default_port: u16,
}

impl Target {
    /// Nothing if two readers could take it for different hosts.
    fn of(url: &str) -> Option<Self> {
        if url.contains(|c: char| c == '\\' || c.is_control()) {
            return None;
        }
        let (rest, default_port) =
            match (strip_scheme(url, "http://"), strip_scheme(url, "https://")) {
                (Some(rest), _) => (rest, 80),
                (_, Some(rest)) => (rest, 443),
                _ => return None,
            };
        // What stands before the first slash is the authority for every reader;
        // some go on at a question mark or a number sign.
        let longest = rest.split('/').next()?;
        let authority = longest.split(['?', '#']).next()?;
        if authority.len() > LONGEST || longest.contains('@') {
            return None;
        }
        let authority = authority.to_ascii_lowercase();
        let (host, port) = split_port(&authority)?;
        is_canonical(host).then(|| Self {
            host: host.to_owned(),
            port,
            default_port,
        })
    }
}

/// What follows the scheme, if that is this one, in any case.
fn strip_scheme<'u>(url: &'u str, scheme: &str) -> Option<&'u str> {
    let start = url.get(..scheme.len())?;
    let rest = url.get(scheme.len()..)?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// A port must be written as every reader writes it.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_address = authority.rfind(']').unwrap_or(0);
    let Some(colon) = authority.rfind(':').filter(|colon| *colon >= after_address) else {
        return Some((authority, None));
    };
    let (host, digits) = (
        authority.get(..colon)?,
        authority.get(colon.checked_add(1)?..)?,
    );
    let port: u16 = digits.parse().ok()?;
    (port.to_string() == digits).then_some((host, Some(port)))
}

/// Whether a host is spelt in the one way that leaves nothing to resolve.
///
/// Other characters than those of host names are taken for part of the host by
/// some readers, and for its end by others.
fn is_canonical(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !host.starts_with('[') && !host.bytes().all(is_plain) {
        return false;
    }
    if host.split('.').any(str::is_empty) {
        return false;
    }
    Host::parse(host).is_ok_and(|parsed| parsed.to_string() == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(entries: &[&str]) -> Hosts {
        let entries = entries.iter().map(|entry| Entry::parse(entry).unwrap());
        Hosts::new(entries.collect())
    }

    fn check(entries: &[&str], rows: &[(&str, Truth)]) {
        let hosts = hosts(entries);
        for (url, truth) in rows {
            assert_eq!(hosts.has(url), *truth, "{url:?} in {entries:?}");
        }
    }

    use Truth::{False, True, Undecidable};

    #[test]
    fn a_host_is_exactly_one_of_the_list() {
        check(
            &["a.dev"],
            &[
                ("https://a.dev", True),
                ("http://a.dev/x?y#z", True),
                ("HTTPS://A.DEV/", True),
                ("https://a.dev:443/", True),
                ("http://a.dev:80/", True),
                ("https://a.dev?x", True),
                ("https://a.dev#x", True),
                ("https://a.dev/b@c%20d", True),
                ("https://a.dev/\u{fc} x", True),
                ("https://b.dev/", False),
                ("https://x.a.dev/", False),
                ("https://a.dev.evil.com/", False),
                ("https://evila.dev/", False),
                ("https://a.dev:8443/", False),
                ("https://a.dev:80/", False),
                ("http://a.dev:443/", False),
                ("https://evil.com/https://a.dev/", False),
                ("https://xn--bcher-kva.dev/", False),
            ],
        );
    }

    #[test]
    fn what_ends_a_host_for_some_readers_is_in_none() {
        for odd in [
            ';', '\'', '"', '`', '{', '}', '!', '$', '&', '(', ')', '*', '+', ',', '=', '~',
        ] {
            let url = format!("http://evil.com{odd}.a.dev/x");
            check(&[".a.dev"], &[(&*url, Undecidable)]);
        }
    }

    #[test]
    fn what_readers_could_take_for_another_host_is_undecidable() {
        check(
            &["a.dev", "127.0.0.1", "[::1]", ".a.dev"],
            &[
                ("", Undecidable),
                ("a.dev", Undecidable),
                ("//a.dev/", Undecidable),
                ("ftp://a.dev/", Undecidable),
                ("file:///a.dev", Undecidable),
                ("javascript:alert(1)", Undecidable),
                ("https:a.dev", Undecidable),
                ("https:/a.dev", Undecidable),
                ("https:///a.dev", Undecidable),
                ("https://", Undecidable),
                (" https://a.dev/", Undecidable),
                ("\thttps://a.dev/", Undecidable),
                ("ht\ttps://a.dev/", Undecidable),
                ("https://a.d\tev/", Undecidable),
                ("https://a.dev\n/", Undecidable),
                ("https://a.dev/x\r\nHost: evil", Undecidable),
                ("https://a.dev /", Undecidable),
                ("https://a.dev\\@evil.com/", Undecidable),
                ("https://evil.com\\a.dev/", Undecidable),
                ("https://a.dev/x\\y", Undecidable),
                ("https://a.dev@evil.com/", Undecidable),
                ("https://evil.com@a.dev/", Undecidable),
                ("https://u:p@a.dev/", Undecidable),
                ("https://@a.dev/", Undecidable),
                ("https://a.dev#@evil.com/", Undecidable),
                ("https://a.dev?@evil.com/", Undecidable),
                ("https://a%2edev/", Undecidable),
                ("https://a.dev%00.evil.com/", Undecidable),
                ("https://a.dev./", Undecidable),
                ("https://a.dev.:443/", Undecidable),
                ("https://a..dev/", Undecidable),
                ("https://.a.dev/", Undecidable),
                ("https://a.dev:/", Undecidable),
                ("https://a.dev:0443/", Undecidable),
                ("https://a.dev:+443/", Undecidable),
                ("https://a.dev:99999/", Undecidable),
                ("https://a.dev:80:443/", Undecidable),
                ("https://a\u{3002}dev/", Undecidable),
                ("https://\u{ff41}.dev/", Undecidable),
                ("https://a\u{ad}.dev/", Undecidable),
                ("https://xn--.dev/", Undecidable),
                ("https://a^b.dev/", Undecidable),
                ("http://127.1/", Undecidable),
                ("http://2130706433/", Undecidable),
                ("http://0x7f.0.0.1/", Undecidable),
                ("http://0x7f000001/", Undecidable),
                ("http://0177.0.0.1/", Undecidable),
                ("http://127.0.0.1./", Undecidable),
                ("http://127.0.0.256/", Undecidable),
                ("http://[::0001]/", Undecidable),
                ("http://[0:0:0:0:0:0:0:1]/", Undecidable),
                ("http://[::ffff:127.0.0.1]/", Undecidable),
                ("http://[::1%25eth0]/", Undecidable),
                ("http://::1/", Undecidable),
                ("http://[::1/", Undecidable),
                ("http://[::1]x/", Undecidable),
                ("http://127.0.0.1/", True),
                ("http://[::1]/", True),
                ("http://[::1]:80/", True),
                ("http://[::1]:81/", False),
                ("http://[::2]/", False),
            ],
        );
    }

    #[test]
    fn what_is_longer_than_any_host_is_undecidable() {
        let hosts = hosts(&[".a.dev"]);
        let of_length = |length: usize| format!("https://{}.a.dev/", "x".repeat(length - 6));
        assert_eq!(hosts.has(&of_length(LONGEST)), True);
        assert_eq!(hosts.has(&of_length(LONGEST + 1)), Undecidable);
        assert_eq!(hosts.has(&of_length(10 * LONGEST)), Undecidable);
    }

    #[test]
    fn a_suffix_means_what_is_below_it() {
        check(
            &[".a.dev"],
            &[
                ("https://x.a.dev/", True),
                ("https://x.y.A.dev:443/", True),
                ("https://a.dev/", False),
                ("https://xa.dev/", False),
                ("https://x.a.dev.evil.com/", False),
                ("https://x.a.dev:8443/", False),
            ],
        );
    }

    #[test]
    fn an_entry_may_name_a_port() {
        check(
            &["a.dev:8443", ".b.dev:81", "[::1]:82"],
            &[
                ("https://a.dev:8443/", True),
                // As the page says: absent, default, or written in the entry.
                ("https://a.dev/", True),
                ("https://a.dev:8444/", False),
                ("http://x.b.dev:81/", True),
                ("http://x.b.dev:8443/", False),
                ("http://[::1]:82/", True),
            ],
        );
    }

    #[test]
    fn what_no_host_can_be_is_no_entry() {
        for entry in [
            "",
            ".",
            "A.dev",
            "https://a.dev",
            "a.dev/",
            "a.dev/x",
            "u@a.dev",
            "a.dev:",
            "a.dev:x",
            "a.dev:080",
            "a.dev.",
            "..a.dev",
            "a..dev",
            "*.a.dev",
            "\u{fc}.dev",
            "127.1",
            "0x7f.1",
            "::1",
            "[::0001]",
            ".1",
            "a b.dev",
            "a\\b",
            "a%2e.dev",
            "a.dev:1:2",
            "xn--",
        ] {
            let help = Entry::parse(entry).unwrap_err();
            assert!(!help.is_empty(), "{entry}");
        }
    }
}
