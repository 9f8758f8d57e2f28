//! What a URI can be mistaken for.

use smallvec::SmallVec;

use super::{Parts, after_userinfo, decode};
use crate::fold::{Folded, fold, fold_name};
use crate::policy::pattern::{Name, Pattern};

/// The forms of a canonical URI that are compared with folded entries.
///
/// A server can take a URI for another one: because it resolves escapes, does
/// not care for a trailing slash, for what follows a semicolon, for the query or
/// for user information, knows the port that a scheme has, or takes the host for
/// the first segment of the path. So there is a form with and without each.
pub(in crate::policy) fn looks(uri: &str) -> SmallVec<[Folded; 1]> {
    let mut looks = SmallVec::new();
    looks.push(look(uri));
    let Some(parts) = Parts::of(uri) else {
        return looks;
    };
    let others = parts
        .authority
        .map(|authority| same_authority(&parts, authority));
    let starts = others.iter().flatten().map(String::as_str);
    for start in std::iter::once(parts.start).chain(starts) {
        for path in [
            parts.path,
            without_slash(parts.path),
            without_rest(parts.path),
        ] {
            for query in once_or_twice(parts.query, None) {
                for uri in other_slashes(parts.scheme, joined(start, path, query)) {
                    let look = look(&uri);
                    if !looks.contains(&look) {
                        looks.push(look);
                    }
                }
            }
        }
    }
    looks
}

/// A path up to what some readers take for its end: a semicolon, or an escaped
/// question mark or number sign.
fn without_rest(path: &str) -> &str {
    let ends = path.char_indices().find_map(|(at, c)| {
        let rest = path.get(at..)?;
        let escaped = ["%3b", "%3f", "%23"].iter().any(|escape| {
            rest.get(..3)
                .is_some_and(|it| it.eq_ignore_ascii_case(escape))
        });
        (c == ';' || escaped).then_some(at)
    });
    path.get(..ends.unwrap_or(path.len())).unwrap_or(path)
}

/// The URI with every number of slashes behind its scheme that there can be:
/// some servers cut the scheme off and take the rest for a path. Of files there
/// is only one canonical form.
fn other_slashes(scheme: &str, uri: String) -> SmallVec<[String; 4]> {
    let mut uris = SmallVec::new();
    if scheme != "file" {
        let rest = uri.get(scheme.len() + 1..).unwrap_or_default();
        let rest = rest.trim_start_matches('/');
        for slashes in ["", "/", "//", "///"] {
            let other = format!("{scheme}:{slashes}{rest}");
            if other != uri {
                uris.push(other);
            }
        }
    }
    uris.insert(0, uri);
    uris
}

fn once_or_twice<T: PartialEq>(one: T, other: T) -> impl Iterator<Item = T> {
    let other = (one != other).then_some(other);
    std::iter::once(one).chain(other)
}

pub(super) fn look(text: &str) -> Folded {
    if text.contains('%') {
        fold_name(&String::from_utf8_lossy(&decode(text)))
    } else {
        fold_name(text)
    }
}

fn joined(start: &str, path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{start}{path}?{query}"),
        None => format!("{start}{path}"),
    }
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// What a URI could as well start with: without user information and the dot
/// behind the host; without and with the port that goes without saying.
fn same_authority(parts: &Parts<'_>, authority: &str) -> SmallVec<[String; 2]> {
    let usual = match parts.scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        "ftp" => Some(21),
        _ => None,
    };
    let host = after_userinfo(authority);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (host, ""),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let port: Option<u16> = port.parse().ok().or(usual);
    let mut starts = SmallVec::new();
    // Without a usual port, a port is nothing that a server would look at.
    if port == usual || usual.is_none() {
        starts.push(format!("{}://{host}", parts.scheme));
    }
    if let Some(port) = port {
        starts.push(format!("{}://{host}:{port}", parts.scheme));
    }
    starts.retain(|start| start != parts.start);
    starts
}

/// The name or pattern of an entry that [`looks`] are compared with.
pub(in crate::policy) fn folded(name: &Name) -> Name {
    match name {
        Name::Exact(uri) => {
            let text = match Parts::of(uri).filter(|_| !uri.contains('#')) {
                Some(parts) => joined(parts.start, without_slash(parts.path), parts.query),
                None => uri.clone(),
            };
            Name::Exact(fold(&String::from_utf8_lossy(&decode(&text))))
        }
        Name::Pattern(pattern) => Name::Pattern(folded_pattern(pattern)),
    }
}

/// The same of a pattern. Escapes of which a star cuts off a part can stand for
/// anything here.
pub(in crate::policy) fn folded_pattern(pattern: &Pattern) -> Pattern {
    let mut runs = Vec::new();
    for run in pattern.runs() {
        let bytes = decode(run);
        let mut text = String::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                runs.push(fold(&std::mem::take(&mut text)));
            }
        }
        runs.push(fold(&text));
    }
    if let Some(suffix) = runs.last_mut() {
        let bare = suffix.strip_suffix('/').filter(|bare| !bare.is_empty());
        if let Some(bare) = bare.map(str::len) {
            suffix.truncate(bare);
        }
    }
    Pattern::from_runs(runs)
}

/// The look of how a URI begins and ends, as far as it does not depend on what
/// is between: characters can compose, but none does so with a slash.
pub(in crate::policy) fn look_around(prefix: &str, suffix: &str) -> Pattern {
    let prefix = prefix.rfind('/').and_then(|slash| prefix.get(..=slash));
    let suffix = suffix.find('/').and_then(|slash| suffix.get(slash..));
    let fold = |text: &str| fold(&String::from_utf8_lossy(&decode(text)));
    Pattern::between(
        fold(prefix.unwrap_or_default()),
        fold(suffix.unwrap_or_default()),
    )
}
