//! Who may use which server, and what is locked down.

use std::fs;

use http_body_util::Full;

use super::log::{ALICE, BOB, CAROL, Console, HOSTILE, governed, is_harmless, operators};
use crate::{
    approvals::admin,
    gateway::{Folder, Recording, outcome, two},
    pages::Browser,
    support::{ALLOW_ALL, Answer, Proxy, send},
};

/// A gateway of two servers, whose operators have roles.
struct Gateway {
    folder: Folder,
    proxy: Proxy,
    admin: String,
}

impl Gateway {
    async fn start() -> Self {
        let (first, second) = (Recording::start().await, Recording::start().await);
        let folder = Folder::new(&governed(&two(&first, &second)));
        let proxy = folder.serve_with(operators).await;
        let admin = admin(&proxy.log());
        Self {
            folder,
            proxy,
            admin,
        }
    }

    async fn signed_in(&self, token: &str) -> Browser<'_> {
        Browser::signed_in_at(&self.admin, token).await
    }
}

async fn sends(browser: &Browser<'_>, path: &str, fields: &[(&str, &str)]) -> Answer {
    let csrf = browser.csrf().await;
    let fields = [&[("csrf", &*csrf)], fields].concat();
    browser.posts(path, &fields).await
}

/// The token that a page shows.
fn token(page: &str) -> String {
    let (_, rest) = page.split_once("<code>mcpp_").unwrap();
    format!("mcpp_{}", rest.split('<').next().unwrap())
}

const ADA: [(&str, &str); 5] = [
    ("label", "ada"),
    ("server", "one"),
    ("policy", ""),
    ("file", "all.json"),
    ("claims", "team=ops\r\n\r\n area = north \r\n"),
];

#[tokio::test]
async fn a_grant_works_at_the_next_call_and_its_token_is_shown_once() {
    let gateway = Gateway::start().await;
    let (proxy, folder) = (&gateway.proxy, &gateway.folder);
    let alice = gateway.signed_in(ALICE).await;
    let page = alice.gets("/grants").await.text;
    assert!(page.contains("There are no grants yet."), "{page}");
    let added = sends(&alice, "/grants/add", &ADA).await;
    assert_eq!(added.status(), 200, "{}", added.text);
    assert_eq!(added.header("cache-control"), Some("no-store"));
    let ada = token(&added.text);
    let url = format!("http://{}/mcp/one", proxy.address);
    assert!(added.text.contains("mcpServers") && added.text.contains(&url));
    assert_eq!(outcome(proxy, "one", &ada, "run").await, "allowed");
    assert_eq!(outcome(proxy, "two", &ada, "run").await, "401");
    let page = alice.gets("/grants").await.text;
    for part in ["ada", "all.json", "<bdi>team</bdi>", "<bdi>area</bdi>"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains("north"), "{page}");
    // Its policy is one that is known by now.
    let (_, rest) = page.split_once("<a href=\"/policies/").unwrap();
    assert!(rest.contains("<bdi>all.json</bdi></a>"), "{page}");

    // Another token, once that has been said twice.
    let label = [("label", "ada")];
    let asked = sends(&alice, "/grants/rotate", &label).await;
    assert!(
        asked.text.contains("Another token for ada?"),
        "{}",
        asked.text
    );
    assert_eq!(outcome(proxy, "one", &ada, "run").await, "allowed");
    let sure = [("label", "ada"), ("sure", "yes")];
    let rotated = sends(&alice, "/grants/rotate", &sure).await;
    let other = token(&rotated.text);
    assert_ne!(other, ada);
    assert_eq!(outcome(proxy, "one", &ada, "run").await, "401");
    assert_eq!(outcome(proxy, "one", &other, "run").await, "allowed");

    let asked = sends(&alice, "/grants/revoke", &label).await;
    assert!(
        asked.text.contains("Revoke the grant ada?"),
        "{}",
        asked.text
    );
    assert_eq!(outcome(proxy, "one", &other, "run").await, "allowed");
    let revoked = sends(&alice, "/grants/revoke", &sure).await;
    assert_eq!(revoked.header("location"), Some("/grants"));
    assert_eq!(outcome(proxy, "one", &other, "run").await, "401");
    let page = alice.gets("/grants").await.text;
    assert!(page.contains(">revoked</span>"), "{page}");
    let again = sends(&alice, "/grants/rotate", &sure).await;
    assert_eq!(again.status(), 409);

    // Only their hashes are kept, and comments are.
    let text = folder.text();
    assert!(
        text.starts_with("# Kept.\n") && text.contains("sha256:"),
        "{text}"
    );
    let mut shown = vec![text, proxy.log()];
    for path in ["/", "/grants", "/log", "/limits", "/policies", "/tools"] {
        shown.push(alice.gets(path).await.text);
    }
    for file in ["audit.db", "audit.db-wal"] {
        let bytes = fs::read(folder.path(file)).unwrap_or_default();
        shown.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    for token in [&ada, &other] {
        assert!(shown.iter().all(|text| !text.contains(&token[5..])));
    }
    for done in [
        "added a grant",
        "gave a grant another token",
        "revoked a grant",
    ] {
        assert!(proxy.log().contains(done), "{}", proxy.log());
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_grant_is_said_beside_what_was_typed() {
    let gateway = Gateway::start().await;
    let alice = gateway.signed_in(ALICE).await;
    let before = gateway.folder.text();
    gateway.folder.put("broken.json", "root:x:0:0");
    for (name, value, expected) in [
        ("label", "a b", "1 to 64 letters"),
        ("label", "", "1 to 64 letters"),
        ("server", "three", "there is no server `three`"),
        ("file", "none.json", "none.json"),
        ("file", "broken.json", "broken.json"),
        ("claims", "team", "NAME=TEXT"),
        ("policy", "readers.json", "not both"),
    ] {
        let fields = ADA.map(|(one, typed)| (one, if one == name { value } else { typed }));
        let answer = sends(&alice, "/grants/add", &fields).await;
        assert_eq!(answer.status(), 400, "{}", answer.text);
        let text = answer.text.replace("&#96;", "`");
        assert!(text.contains("Nothing was added:"), "{text}");
        assert!(text.contains(expected), "no {expected} in {text}");
        assert!(
            !text.contains("root:x") && !text.contains("mcpp_"),
            "{text}"
        );
        assert_eq!(gateway.folder.text(), before);
    }
    let typed = sends(
        &alice,
        "/grants/add",
        &[("label", HOSTILE), ("claims", HOSTILE)],
    )
    .await;
    is_harmless(&typed.text);
    assert_eq!(sends(&alice, "/grants/add", &ADA).await.status(), 200);
    let again = sends(&alice, "/grants/add", &ADA).await;
    assert!(again.text.contains("already"), "{}", again.text);
}

#[tokio::test]
async fn a_lockdown_refuses_the_next_call_until_it_is_ended() {
    let gateway = Gateway::start().await;
    let alice = gateway.signed_in(ALICE).await;
    let ada = token(&sends(&alice, "/grants/add", &ADA).await.text);
    let bea = [("label", "bea"), ("server", "two"), ("file", "all.json")];
    let bea = token(&sends(&alice, "/grants/add", &bea).await.text);
    let outcomes = async || {
        let ada = outcome(&gateway.proxy, "one", &ada, "run").await;
        let bea = outcome(&gateway.proxy, "two", &bea, "run").await;
        [ada, bea].map(|outcome| outcome == "allowed")
    };
    assert_eq!(outcomes().await, [true, true]);
    for (what, name, expected, shown) in [
        (
            "everything",
            "",
            [false, false],
            "Everything is locked down",
        ),
        ("server", "one", [false, true], "locked down"),
        ("grant", "bea", [true, false], "locked down"),
    ] {
        let fields = [("what", what), ("name", name), ("lock", "on")];
        let asked = sends(&alice, "/grants/lockdown", &fields).await;
        assert!(asked.text.contains("Lock down "), "{}", asked.text);
        assert_eq!(outcomes().await, [true, true]);
        let sure = [&fields[..], &[("sure", "yes")]].concat();
        assert_eq!(sends(&alice, "/grants/lockdown", &sure).await.status(), 303);
        assert_eq!(outcomes().await, expected, "{what}");
        let page = alice.gets("/grants").await.text;
        assert!(page.contains(shown), "{page}");
        let off = [
            ("what", what),
            ("name", name),
            ("lock", "off"),
            ("sure", "yes"),
        ];
        assert_eq!(sends(&alice, "/grants/lockdown", &off).await.status(), 303);
        assert_eq!(outcomes().await, [true, true]);
        assert!(
            !alice
                .gets("/grants")
                .await
                .text
                .contains("locked down</span>")
        );
    }
    // Why a call was refused meanwhile is said as well.
    let list = alice.gets("/log?verdict=denied&caller=ada").await.text;
    let (_, rest) = list.split_once("href=\"/log/").unwrap();
    let path = format!("/log/{}", rest.split('"').next().unwrap());
    let page = alice.gets(&path).await.text;
    assert!(page.contains(">locked down</a> then"), "{page}");
    for wrong in [
        [("what", "server"), ("name", "three"), ("lock", "on")],
        [("what", "grant"), ("name", "nobody"), ("lock", "on")],
    ] {
        let sure = [&wrong[..], &[("sure", "yes")]].concat();
        let answer = sends(&alice, "/grants/lockdown", &sure).await;
        assert_eq!(answer.status(), 409, "{}", answer.text);
    }
    let wrong = [("what", "all"), ("lock", "on"), ("sure", "yes")];
    let answer = sends(&alice, "/grants/lockdown", &wrong).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(outcomes().await, [true, true]);
    assert!(gateway.proxy.log().contains("changed the lockdown"));
}

#[tokio::test]
async fn only_an_admin_changes_grants_and_only_by_a_form_of_the_page() {
    let gateway = Gateway::start().await;
    let alice = gateway.signed_in(ALICE).await;
    let ada = token(&sends(&alice, "/grants/add", &ADA).await.text);
    let before = gateway.folder.text();
    let label = [("label", "ada"), ("sure", "yes")];
    let everything = [("what", "everything"), ("lock", "on"), ("sure", "yes")];
    let bea = [("label", "bea"), ("server", "one"), ("file", "all.json")];
    let all: [(&str, &[(&str, &str)]); 4] = [
        ("/grants/add", &bea),
        ("/grants/rotate", &label),
        ("/grants/revoke", &label),
        ("/grants/lockdown", &everything),
    ];
    for who in [BOB, CAROL] {
        let browser = gateway.signed_in(who).await;
        let page = browser.gets("/grants").await.text;
        assert!(page.contains("<bdi>ada</bdi>"), "{page}");
        assert!(
            !page.contains("action=\"/grants") && !page.contains("mcpp_"),
            "{page}"
        );
        assert!(!page.contains("sha256:"), "{page}");
        for (path, fields) in all {
            let refused = sends(&browser, path, fields).await;
            assert_eq!(refused.status(), 403, "{path}");
            assert!(
                refused.text.contains("not for the role"),
                "{}",
                refused.text
            );
            assert!(!refused.text.contains("mcpp_"), "{}", refused.text);
        }
    }
    let csrf = alice.csrf().await;
    for (csrf, origin) in [
        ("", alice.url("")),
        (&csrf, "https://evil.example".to_owned()),
        (&csrf, "null".to_owned()),
    ] {
        for (path, fields) in all {
            let fields = [&[("csrf", csrf)], fields].concat();
            let (request, form) = alice.form(path, &fields);
            let request = request.header("origin", &*origin);
            let refused = send(request.body(Full::from(form)).unwrap()).await;
            assert_eq!(refused.status(), 403, "{path} {origin}");
        }
    }
    let nobody = Browser::at(&gateway.admin);
    for (path, fields) in all {
        assert_eq!(alice.gets(path).await.status(), 405, "{path}");
        assert_eq!(nobody.posts(path, fields).await.status(), 401, "{path}");
    }
    assert_eq!(gateway.folder.text(), before);
    assert_eq!(outcome(&gateway.proxy, "one", &ada, "run").await, "allowed");
}

#[tokio::test]
async fn without_a_configuration_the_page_says_how_to_get_one() {
    let console = Console::start(ALLOW_ALL, &[]).await;
    let alice = console.signed_in(ALICE).await;
    let page = alice.gets("/grants").await.text;
    assert!(page.contains("serve --config gateway.toml"), "{page}");
    assert!(!page.contains("action=\"/grants"), "{page}");
    let refused = sends(&alice, "/grants/add", &ADA).await;
    assert_eq!(refused.status(), 409, "{}", refused.text);
}

/// As it can be while somebody is editing it.
#[tokio::test]
async fn a_configuration_that_does_not_load_is_shown_as_such() {
    let gateway = Gateway::start().await;
    let alice = gateway.signed_in(ALICE).await;
    let ada = token(&sends(&alice, "/grants/add", &ADA).await.text);
    assert_eq!(outcome(&gateway.proxy, "one", &ada, "run").await, "allowed");
    let text = gateway.folder.text();
    let hostile = HOSTILE.replace('"', "'");
    let grant =
        format!("\n[[grants]]\nlabel = {hostile:?}\nserver = \"one\"\ntoken = \"mcpp_x\"\n");
    let toml = grant
        .replace("\\u{202e}", "\\u202e")
        .replace("\\u{1b}", "\\u001b");
    gateway.folder.put("gateway.toml", &(text + &toml));
    assert_eq!(outcome(&gateway.proxy, "one", &ada, "run").await, "allowed");
    let page = alice.gets("/grants").await.text;
    is_harmless(&page);
    assert!(page.contains("not used as it stands"), "{page}");
    assert!(
        page.contains("<bdi>ada</bdi>") && !page.contains("mcpp_x"),
        "{page}"
    );
}
