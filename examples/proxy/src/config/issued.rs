//! `[servers.NAME.jwt]`: a server whose callers have tokens of an issuer.

use toml_edit::TableLike;

use super::reader::{Fields, Spanned};
use crate::{
    jwt::{self, KeySource},
    names::shown,
};

/// The fields of it.
pub(super) const FIELDS: [&str; 5] = ["audience", "caller", "issuer", "keys", "scopes"];

/// The claim that names a caller, unless another one is said.
const SUBJECT: &str = "sub";

/// What tokens have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) issuer: String,
    /// For whom they are, if not for the URL of the server.
    pub(crate) audience: Option<String>,
    pub(crate) scopes: Vec<String>,
    /// The claim that names the caller.
    pub(crate) caller: String,
    pub(crate) keys: KeySource,
}

pub(super) fn read(
    server: &str,
    fields: &Fields<'_>,
    table: &Spanned<&dyn TableLike>,
) -> Option<Issued> {
    let reading = fields.reading;
    let problems = &reading.problems;
    let what = format!("`jwt` of the server `{}`", shown(server));
    if !fields.has("policy") {
        let message = format!("the server `{}` has `jwt`, and no policy", shown(server));
        let help = "add `policy`, for everybody with a token";
        problems.advise(&table.span, message, help);
    }
    if !reading.has_public_url {
        let message = "clients have to know by which URL they reach a server that asks for tokens";
        problems.advise(&table.span, message, "add `public_url` to this document");
    }
    let fields = Fields::new(table.value, table.span.clone(), what, &FIELDS, reading);
    let help = "the `iss` of its tokens, such as https://login.example.com";
    let issuer = fields.needed("issuer", help);
    let keys = fields.text("keys");
    for (url, is_right) in [
        (&issuer, jwt::is_issuer as fn(&str) -> bool),
        (&keys, jwt::is_place_of_keys),
    ] {
        if let Some(url) = url.as_ref().filter(|url| !is_right(url.value)) {
            let message = "this has to be a URL that begins with https://";
            let help = "http:// is for loopback names; an issuer has no query and no fragment";
            problems.advise(&url.span, message, help);
        }
    }
    let named = |name: &str| {
        let text = fields.text(name)?;
        if text.value.is_empty() {
            fields.wrong(name, "a name");
        }
        Some(text.value.to_owned())
    };
    let scopes = fields.texts("scopes");
    for scope in scopes.iter().filter(|scope| !is_scope(scope.value)) {
        let help = "one is printable ASCII without blanks, quotes and backslashes";
        problems.advise(&scope.span, "this is no scope of OAuth", help);
    }
    let (audience, caller) = (named("audience"), named("caller"));
    Some(Issued {
        issuer: issuer?.value.to_owned(),
        audience,
        scopes: scopes.iter().map(|scope| scope.value.to_owned()).collect(),
        caller: caller.unwrap_or_else(|| SUBJECT.to_owned()),
        keys: keys.map_or(KeySource::Discovered, |keys| {
            KeySource::At(keys.value.to_owned())
        }),
    })
}

/// RFC 6749, 3.3.
fn is_scope(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    !text.is_empty() && text.bytes().all(is_part)
}
