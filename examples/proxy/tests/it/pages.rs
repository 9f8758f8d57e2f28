//! The pages of the admin address, as a browser gets them. What a browser makes of them
//! is shown by `tests/interop/browser`.

use http::{Request, request::Builder};
use http_body_util::Full;

use crate::approvals::{ALICE, Asking, PEER, asks, paying, text};
use crate::support::{Answer, open, reads, send, within};

/// Somebody with a browser.
pub(crate) struct Browser<'a> {
    admin: &'a str,
    cookie: String,
}

impl<'a> Browser<'a> {
    fn new(asking: &'a Asking) -> Self {
        Self::at(&asking.admin)
    }

    /// Nobody yet, at this admin address.
    pub(crate) fn at(admin: &'a str) -> Self {
        Self {
            admin,
            cookie: String::new(),
        }
    }

    async fn signed_in(asking: &'a Asking, token: &str) -> Self {
        Self::signed_in_at(&asking.admin, token).await
    }

    pub(crate) async fn signed_in_at(admin: &'a str, token: &str) -> Self {
        let mut browser = Self::at(admin);
        let answer = browser.posts("/login", &[("token", token)]).await;
        assert_eq!(answer.status(), 303, "{}", answer.text);
        let cookie = answer.header("set-cookie").unwrap();
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        browser
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    pub(crate) fn asks(&self, request: Builder) -> Builder {
        let accept = "text/html,application/xhtml+xml,*/*;q=0.8";
        let request = request.header("accept", accept);
        match &*self.cookie {
            "" => request,
            cookie => request.header("cookie", cookie),
        }
    }

    pub(crate) async fn gets(&self, path: &str) -> Answer {
        let request = self.asks(Request::get(self.url(path)));
        let answer = send(request.body(Full::default()).unwrap()).await;
        for (name, part) in [
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; ",
            ),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
        ] {
            let value = answer.header(name).unwrap_or_default();
            assert!(value.contains(part), "{path}: {name}: {value}");
        }
        answer
    }

    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> (Builder, String) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let request = self.asks(Request::post(self.url(path)));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        (request, form.extend_pairs(fields).finish())
    }

    pub(crate) async fn posts(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let (request, form) = self.form(path, fields);
        let request = request.header("origin", self.url(""));
        send(request.body(Full::from(form)).unwrap()).await
    }

    pub(crate) async fn csrf(&self) -> String {
        let page = self.gets("/approvals").await.text;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn an_operator_signs_in_and_decides() {
    let asking = Asking::start().await;
    let nobody = Browser::new(&asking);
    let wrong = nobody
        .posts("/login", &[("token", "wrong-token-0123456789")])
        .await;
    assert_eq!((wrong.status(), wrong.header("set-cookie")), (401, None));
    assert!(wrong.text.contains("not the token of an operator"));
    let alice = Browser::signed_in(&asking, ALICE).await;
    assert!(
        alice
            .gets("/approvals")
            .await
            .text
            .contains("Nothing waits")
    );

    let operator = async {
        let id = asking.waiting_id().await;
        let page = alice.gets("/approvals").await;
        assert_eq!(page.status(), 200);
        for part in [
            "1 waiting",
            "Money is gone for good.",
            "Approve once",
            &id,
            "alice",
        ] {
            assert!(page.text.contains(part), "no {part} in {}", page.text);
        }
        // As they were sent.
        assert!(page.text.contains("9007199254740993.10"), "{}", page.text);
        let csrf = alice.csrf().await;
        let fields = [("csrf", &*csrf), ("note", "")];
        let done = alice
            .posts(&format!("/approvals/{id}/approve"), &fields)
            .await;
        assert_eq!(
            (done.status(), done.header("location")),
            (303, Some("/approvals"))
        );
        let again = alice.posts(&format!("/approvals/{id}/deny"), &fields).await;
        assert_eq!(again.status(), 409);
        assert!(again.text.contains("Nothing was changed"), "{}", again.text);
    };
    let call = asks(&asking.proxy, paying(r#"{"sum":9007199254740993.10}"#));
    let (answer, (), _) = tokio::join!(call, operator, asking.upstream.answers());
    assert!(answer.json()["error"].is_null(), "{}", answer.text);
    let page = alice.gets("/approvals").await.text;
    assert!(page.contains("decided by <bdi>alice</bdi>") && !page.contains("9007199254740993"));

    let operator = async {
        let id = asking.waiting_id().await;
        let csrf = alice.csrf().await;
        let fields = [("csrf", &*csrf), ("note", " Ask the <bank>.\r\n")];
        let done = alice.posts(&format!("/approvals/{id}/deny"), &fields).await;
        assert_eq!(done.status(), 303, "{}", done.text);
        let page = alice.gets(&format!("/approvals/{id}")).await.text;
        assert!(page.contains("Ask the &#60;bank&#62;."), "{page}");
        assert!(!page.contains("Approve once"), "{page}");
    };
    let (answer, ()) = tokio::join!(asks(&asking.proxy, paying("{}")), operator);
    assert!(text(&answer).contains("Ask the <bank>."), "{}", answer.text);

    let left = alice
        .posts("/logout", &[("csrf", &alice.csrf().await)])
        .await;
    assert_eq!(left.status(), 303);
    assert_eq!(alice.gets("/approvals").await.status(), 401);
    let log = asking.proxy.log();
    for secret in [
        "9007199254740993",
        "bank",
        ALICE,
        alice.cookie.split('=').next_back().unwrap(),
    ] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

#[tokio::test]
async fn only_forms_of_a_session_change_anything() {
    let asking = Asking::start().await;
    let alice = Browser::signed_in(&asking, ALICE).await;
    let other = Browser::signed_in(&asking, ALICE).await;
    let nobody = Browser::new(&asking);
    let operator = async {
        let id = asking.waiting_id().await;
        let path = format!("/approvals/{id}/approve");
        let (own, others) = (alice.csrf().await, other.csrf().await);
        for (browser, csrf, expected) in [
            (&alice, None, 403),
            (&alice, Some(""), 403),
            (&alice, Some(&*others), 403),
            (&nobody, Some(&*own), 401),
        ] {
            let fields: Vec<_> = csrf.map(|csrf| ("csrf", csrf)).into_iter().collect();
            let refused = browser.posts(&path, &fields).await;
            assert_eq!(refused.status(), expected, "{csrf:?}");
            assert!(
                refused.text.contains("Nothing was done"),
                "{}",
                refused.text
            );
        }
        for origin in [
            None,
            Some("null"),
            Some("https://evil.example"),
            Some("http://127.0.0.1:1"),
        ] {
            for (path, fields) in [
                (&*path, ("csrf", &*own)),
                ("/logout", ("csrf", &*own)),
                ("/login", ("token", ALICE)),
            ] {
                let (mut request, form) = alice.form(path, &[fields]);
                if let Some(origin) = origin {
                    request = request.header("origin", origin);
                }
                let refused = send(request.body(Full::from(form)).unwrap()).await;
                assert_eq!(refused.status(), 403, "{origin:?} {path}");
                assert_eq!(refused.header("set-cookie"), None);
            }
        }
        // A page is no way to decide, and a cookie none to use the API.
        assert_eq!(alice.gets(&path).await.status(), 405);
        let api = Request::post(alice.url(&path)).header("cookie", &alice.cookie);
        let refused = send(api.body(Full::default()).unwrap()).await;
        assert_eq!(refused.status(), 401);
        assert_eq!(asking.waiting().await["state"], "pending");
        // Nobody decides about a call of their own.
        let peer = Browser::signed_in(&asking, PEER).await;
        let refused = peer.posts(&path, &[("csrf", &peer.csrf().await)]).await;
        assert_eq!(refused.status(), 403);
        assert!(refused.text.contains("of their own"), "{}", refused.text);
        asking.succeeds(&["deny", &id]).await;
    };
    tokio::join!(asks(&asking.proxy, paying("{}")), operator);
}

#[tokio::test]
async fn who_is_not_signed_in_sees_nothing_but_where_to_do_so() {
    let asking = Asking::start().await;
    let nobody = Browser::new(&asking);
    let operator = async {
        let id = asking.waiting_id().await;
        for path in ["/approvals", &format!("/approvals/{id}")] {
            let page = nobody.gets(path).await;
            assert_eq!(page.status(), 401);
            let next = format!("name=\"next\" value=\"{path}\"");
            assert!(page.text.contains(&next), "{}", page.text);
            assert!(!page.text.contains("Money"), "{}", page.text);
        }
        assert_eq!(nobody.gets("/events/approvals").await.status(), 401);
        for (path, kind) in [("css", "text/css"), ("js", "text/javascript")] {
            let asset = nobody.gets(&format!("/assets/console.{path}")).await;
            assert_eq!(asset.status(), 200);
            assert!(asset.header("content-type").unwrap().starts_with(kind));
        }
        assert_eq!(nobody.gets("/events/decisions").await.status(), 401);
        assert_eq!(nobody.gets("/").await.status(), 401);
        assert_eq!(nobody.gets("/other").await.status(), 404);
        let own = format!("/approvals/{id}");
        for (next, expected) in [
            (&*own, &*own),
            ("/log", "/log"),
            ("https://evil.example/approvals", "/"),
            ("//evil.example", "/"),
            ("/log//evil.example", "/log//evil.example"),
            (&format!("{own}/approve"), "/"),
        ] {
            let answer = nobody
                .posts("/login", &[("token", ALICE), ("next", next)])
                .await;
            assert_eq!(answer.header("location"), Some(expected));
            let cookie = answer.header("set-cookie").unwrap();
            assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
        }
        asking.succeeds(&["deny", &id]).await;
    };
    tokio::join!(asks(&asking.proxy, paying("{}")), operator);
}

#[tokio::test]
async fn pages_cannot_be_taken_over_by_what_they_show() {
    let asking = Asking::start().await;
    let alice = Browser::signed_in(&asking, ALICE).await;
    let hostile = "{\"</code><script>a\": \"\\u001b[2J\u{202e}evil\u{9b}31m\u{200b}<img src=x onerror='a'>\\\"\"},\
                   \"_meta\":{\"b\":\"</pre><b>\"}";
    let operator = async {
        let id = asking.waiting_id().await;
        for path in ["/approvals", &format!("/approvals/{id}")] {
            let page = alice.gets(path).await.text;
            let is_harmless =
                |c: char| c == '\n' || c == '…' || c == '–' || (' '..='~').contains(&c);
            assert!(page.chars().all(is_harmless), "{page:?}");
            for hostile in ["<script>", "<img", "<b>", "onerror='a"] {
                assert!(!page.contains(hostile), "{hostile} in {page}");
            }
            for shown in [
                "&#60;/code&#62;&#60;script&#62;a",
                "\\u001b[2J\\u202eevil\\u009b31m\\u200b&#60;img",
                "And besides",
                "&#60;/pre&#62;&#60;b&#62;",
            ] {
                assert!(page.contains(shown), "no {shown} in {page}");
            }
        }
        asking.succeeds(&["deny", &id]).await;
    };
    tokio::join!(asks(&asking.proxy, paying(hostile)), operator);
}

/// As with TLS in front of the admin address.
#[tokio::test]
async fn pages_can_be_had_under_a_name_that_is_allowed() {
    let more = [
        "--allowed-host",
        "ops.example.com",
        "--allowed-origin",
        "https://app.example.com",
    ];
    let asking = Asking::with(&more).await;
    let nobody = Browser::new(&asking);
    for (host, origin, expected) in [
        ("ops.example.com", "https://ops.example.com", 303),
        ("ops.example.com", "https://app.example.com", 403),
        ("ops.example.com", "https://evil.example", 403),
        ("evil.example", "https://evil.example", 403),
    ] {
        let (request, form) = nobody.form("/login", &[("token", ALICE)]);
        let request = request.header("host", host).header("origin", origin);
        let answer = send(request.body(Full::from(form)).unwrap()).await;
        assert_eq!(
            answer.status(),
            expected,
            "{host} {origin}: {}",
            answer.text
        );
        let cookie = answer.header("set-cookie").unwrap_or_default();
        assert_eq!(cookie.ends_with("; Secure"), expected == 303, "{cookie}");
    }
}

/// Whoever decides has seen all of it.
#[tokio::test]
async fn what_is_too_long_for_the_list_is_decided_about_on_its_own_page() {
    let asking = Asking::start().await;
    let alice = Browser::signed_in(&asking, ALICE).await;
    let long = format!(r#"{{"a":"{}","b":"the end"}}"#, "x".repeat(2_000));
    let operator = async {
        let id = asking.waiting_id().await;
        let list = alice.gets("/approvals").await.text;
        assert!(list.contains("This is not all of it."), "{list}");
        assert!(
            !list.contains("the end") && !list.contains("Approve once"),
            "{list}"
        );
        let page = alice.gets(&format!("/approvals/{id}")).await.text;
        assert!(
            page.contains("the end") && page.contains("Approve once"),
            "{page}"
        );
        asking.succeeds(&["deny", &id]).await;
    };
    tokio::join!(asks(&asking.proxy, paying(&long)), operator);
}

#[tokio::test]
async fn a_page_hears_what_changes_until_its_session_ends() {
    let asking = Asking::start().await;
    let alice = Browser::signed_in(&asking, ALICE).await;
    let csrf = alice.csrf().await;
    let request = alice.asks(Request::get(alice.url("/events/approvals")));
    let mut events = open(request.body(Full::default()).unwrap()).await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    reads(&mut events, "data: look\n\n").await;
    let operator = async {
        reads(&mut events, "data: look\n\n").await;
        let id = asking.waiting_id().await;
        asking.succeeds(&["deny", &id]).await;
        reads(&mut events, "data: look\n\n").await;
    };
    tokio::join!(asks(&asking.proxy, paying("{}")), operator);
    let left = alice.posts("/logout", &[("csrf", &csrf)]).await;
    assert_eq!(left.status(), 303);
    let operator = async {
        let id = asking.waiting_id().await;
        let ended = http_body_util::BodyExt::frame(events.body_mut());
        assert!(within("the end of the stream", ended).await.is_none());
        asking.succeeds(&["deny", &id]).await;
    };
    tokio::join!(asks(&asking.proxy, paying(r#"{"a":1}"#)), operator);
}

#[tokio::test]
async fn nobody_takes_the_live_pages_of_others() {
    let asking = Asking::start().await;
    let alice = Browser::signed_in(&asking, ALICE).await;
    let again = Browser::signed_in(&asking, ALICE).await;
    let peer = Browser::signed_in(&asking, PEER).await;
    let mut live = Vec::new();
    let mut hears = async |browser: &Browser<'_>| {
        let request = browser.asks(Request::get(browser.url("/events/decisions")));
        let events = open(request.body(Full::default()).unwrap()).await;
        let status = events.status().as_u16();
        live.push(events);
        status
    };
    for _ in 0..16 {
        assert_eq!(hears(&alice).await, 200);
    }
    assert_eq!(hears(&again).await, 503);
    assert_eq!(hears(&peer).await, 200);
}
