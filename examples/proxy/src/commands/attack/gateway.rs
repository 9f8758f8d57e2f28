//! Who is attacked: where it is, and what has to be in a request so that it comes there.

use std::{io, time::Duration};

use http::{HeaderName, HeaderValue, Uri, uri::Scheme};
use tokio::{net::TcpStream, time::timeout};

use super::{
    cases::{Era, RawRequest, handshake},
    connection::{Connection, PATIENCE},
};
use crate::upstream::header_line;

const SESSION_ID: &str = "mcp-session-id";

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);

/// Where requests go. Not `Debug`: its headers and its query may hold tokens.
pub(super) struct Gateway {
    /// As it is in a `host` header.
    authority: String,
    address: String,
    /// The path without its last segment and the slash before that.
    folder: String,
    /// The last segment of the path.
    name: String,
    query: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    session: Option<String>,
}

impl Gateway {
    /// Reads the URL and every `--header`. The errors name no values.
    pub(super) fn new<'a>(
        url: &str,
        headers: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let uri = Uri::try_from(url).map_err(|error| format!("this is not a URL: {error}"))?;
        if uri.scheme() == Some(&Scheme::HTTPS) {
            return Err(
                "https is not supported: requests are sent as bytes, so attack the address \
                 behind what ends TLS"
                    .to_owned(),
            );
        }
        let authority = match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => {
                return Err("the URL holds a user name or password: give them as \
                            `--header 'Authorization: …'`"
                    .to_owned());
            }
            Some(authority)
                if uri.scheme() == Some(&Scheme::HTTP) && !authority.host().is_empty() =>
            {
                authority
            }
            _ => return Err("the URL has to begin with http:// and a host".to_owned()),
        };
        let port = authority.port_u16().unwrap_or(80);
        let (folder, name) = uri.path().rsplit_once('/').unwrap_or_default();
        Ok(Self {
            authority: authority.as_str().to_owned(),
            address: format!("{}:{port}", authority.host()),
            folder: folder.to_owned(),
            name: name.to_owned(),
            query: uri.query().map(str::to_owned),
            headers: headers
                .into_iter()
                .map(header_line)
                .collect::<Result<_, _>>()?,
            session: None,
        })
    }

    /// A new connection to it.
    pub(super) async fn connect(&self) -> io::Result<Connection> {
        let stream = timeout(CONNECT, TcpStream::connect(&self.address))
            .await
            .map_err(io::Error::from)??;
        stream.set_nodelay(true)?;
        Ok(Connection::new(stream))
    }

    /// Makes the handshake, if there is somebody who wants one. Whether requests belong
    /// to another session from now on.
    pub(super) async fn begin_session(&mut self) -> bool {
        self.session = None;
        let [initialize, initialized] = handshake();
        let Ok(mut connection) = self.connect().await else {
            return false;
        };
        let bytes = self.request(&initialize, Era::Legacy);
        let answer = connection
            .exchange(&bytes, &initialize.method, PATIENCE)
            .await;
        let Some(id) = answer.and_then(|answer| answer.header(SESSION_ID).map(str::to_owned))
        else {
            return false;
        };
        self.session = Some(id);
        let bytes = self.request(&initialized, Era::Legacy);
        if let Ok(mut connection) = self.connect().await {
            connection
                .exchange(&bytes, &initialized.method, PATIENCE)
                .await;
        }
        true
    }

    /// The bytes of a request, with everything added that this gateway asks for, unless
    /// the request says something of its own there.
    pub(super) fn request(&self, request: &RawRequest, era: Era) -> Vec<u8> {
        let has = |wanted: &str| {
            let mut names = request.headers.iter().map(|(name, _)| name);
            names.any(|name| name.eq_ignore_ascii_case(wanted))
        };
        let target = self.target(&request.target);
        let mut bytes = format!("{} {target} HTTP/1.1\r\n", request.method).into_bytes();
        let mut add = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        if !has("host") {
            add("host", self.authority.as_bytes());
        }
        for (name, value) in &request.headers {
            add(name, value.as_bytes());
        }
        for (name, value) in &self.headers {
            if !has(name.as_str()) {
                add(name.as_str(), value.as_bytes());
            }
        }
        if let Some(session) = &self.session
            && era == Era::Legacy
            && !has(SESSION_ID)
        {
            add(SESSION_ID, session.as_bytes());
        }
        if let Some(body) = &request.body
            && !has("content-length")
            && !has("transfer-encoding")
        {
            add("content-length", body.len().to_string().as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(request.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Where a request goes: in the file the endpoint is `/mcp`, and some requests try
    /// what is beside it.
    fn target(&self, target: &str) -> String {
        let (before, path) = match target.strip_prefix("http://127.0.0.1") {
            Some(path) => (format!("http://{}", self.authority), path),
            None if target.starts_with('/') => (String::new(), target),
            None => return target.to_owned(),
        };
        let path = path.replace("mcp", &self.name);
        let query = match &self.query {
            Some(query) if path.contains('?') => format!("&{query}"),
            Some(query) => format!("?{query}"),
            None => String::new(),
        };
        format!("{before}{}{path}{query}", self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, target: &str) -> String {
        Gateway::new(url, []).unwrap().target(target)
    }

    #[test]
    fn what_is_beside_the_endpoint_is_looked_for_beside_the_one_that_is_attacked() {
        for (url, asked, expected) in [
            ("http://h/mcp", "/mcp", "/mcp"),
            ("http://h/mcp", "//mcp", "//mcp"),
            ("http://h/a/mcp", "/mcp?x=y", "/a/mcp?x=y"),
            ("http://h/a/b", "/mcp/../mcp", "/a/b/../b"),
            ("http://h/a/mcp", "/messages", "/a/messages"),
            ("http://h", "/mcp", "/"),
            ("http://h:81/mcp", "http://127.0.0.1/mcp", "http://h:81/mcp"),
            ("http://h/mcp", "127.0.0.1:80", "127.0.0.1:80"),
            ("http://h/mcp?key=k", "/mcp", "/mcp?key=k"),
            ("http://h/mcp?key=k", "/mcp?x=y", "/mcp?x=y&key=k"),
        ] {
            assert_eq!(target(url, asked), expected, "{url} {asked}");
        }
    }

    #[test]
    fn what_cannot_be_attacked_is_said_without_its_secrets() {
        for url in [
            "https://h/mcp?key=hunter2",
            "http://a:hunter2@h/mcp",
            "hunter2",
            "ftp://h/hunter2",
            "http://h/hunter2 ",
        ] {
            let error = Gateway::new(url, []).err().unwrap();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let header = Gateway::new("http://h/mcp", ["a: hunter2\r\nb: c"]).err();
        assert!(!header.unwrap().contains("hunter2"));
    }

    #[test]
    fn a_request_keeps_what_it_says_itself() {
        let gateway = Gateway::new("http://h/mcp", ["X-Key: ours", "Accept: ours"]).unwrap();
        let request = RawRequest {
            method: "POST".to_owned(),
            target: "/mcp".to_owned(),
            headers: vec![("ACCEPT".to_owned(), "theirs".to_owned())],
            body: Some(b"{}".to_vec()),
        };
        assert_eq!(
            String::from_utf8(gateway.request(&request, Era::Legacy)).unwrap(),
            "POST /mcp HTTP/1.1\r\nhost: h\r\nACCEPT: theirs\r\nx-key: ours\r\ncontent-length: 2\r\n\r\n{}"
        );
    }
}
