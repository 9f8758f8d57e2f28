//! What was decided, and why.

use std::path::{Path, PathBuf};

use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    approvals::admin,
    gateway::{Folder, Recording, outcome},
    limits::answering,
    pages::Browser,
    support::{Answer, Proxy, call, command, file, put, run, send, within},
};

/// Of an admin.
pub(crate) const ALICE: &str = "alices-token-0123456789";
/// Of a policy manager.
pub(crate) const BOB: &str = "bobs-token-01234567890";
/// Of a viewer.
pub(crate) const CAROL: &str = "carols-token-0123456789";

/// The same gateway with a console, and records in a file.
pub(crate) fn governed(config: &str) -> String {
    config.replace(
        "listen = \"127.0.0.1:0\"\n",
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\naudit = \"sqlite:audit.db\"\n",
    )
}

/// One of each, and each may do something else.
pub(crate) fn operators(command: &mut tokio::process::Command) {
    let tokens = format!("alice:{ALICE},bob:{BOB},carol:{CAROL}");
    let roles = "alice:admin,bob:policy-manager,carol:viewer";
    command
        .env("MCP_POLICY_ADMIN_TOKENS", tokens)
        .env("MCP_POLICY_ADMIN_ROLES", roles);
}

const POLICY: &str = r#"{
  "version": "1",
  "name": "for-the-log",
  "default": "deny",
  "tools": {
    "free": { "description": "Nobody minds." },
    "wipe": { "action": "deny", "reason": "Nothing is wiped." },
    "secret": { "action": "hide" },
    "once": { "limits": [ { "counter": "calls", "window": "day", "max": 1 } ] },
    "often": { "rate_limit": { "max": 1, "window": 3600 } },
    "noted": { "require": [ { "conditions": [
      { "path": "args.note", "op": "eq", "value": "another" }
    ], "on_deny": "Say it otherwise." } ] },
    "tried": { "mode": "shadow", "action": "deny", "reason": "Only tried." },
    "pay": { "require_approval": { "reason": "Money is gone for good." } }
  }
}"#;

/// A proxy with operators, in front of a server that answers everything.
pub(crate) struct Console {
    pub(crate) proxy: Proxy,
    pub(crate) admin: String,
    pub(crate) policy: PathBuf,
    /// What the server is called.
    pub(crate) server: String,
}

impl Console {
    pub(crate) async fn start(policy: &str, more: &[&str]) -> Self {
        let policy = file("policy.json", policy);
        Self::at(&answering().await.to_string(), &policy, more).await
    }

    async fn at(server: &str, policy: &Path, more: &[&str]) -> Self {
        let url = format!("http://{server}/mcp");
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--upstream", &url]);
        command.args(["--admin", "127.0.0.1:0", "--policy"]);
        command.arg(policy).args(more).env("RUST_LOG", "info");
        operators(&mut command);
        let proxy = Proxy::spawn(&mut command).await;
        Self {
            admin: admin(&proxy.log()),
            proxy,
            policy: policy.to_owned(),
            server: server.to_owned(),
        }
    }

    pub(crate) async fn signed_in(&self, token: &str) -> Browser<'_> {
        Browser::signed_in_at(&self.admin, token).await
    }

    pub(crate) async fn calls(&self, tool: &str) -> Answer {
        self.proxy.post(&call(1, tool)).await
    }

    /// Whether a call came through.
    pub(crate) async fn passes(&self, tool: &str) -> bool {
        let answer = self.calls(tool).await.json();
        answer["result"].is_object() && answer["result"]["isError"] != true
    }
}

/// A file of records that only this test has.
fn records() -> (PathBuf, String) {
    let path = file("records", "").with_file_name("audit.db");
    let place = format!("sqlite:{}", path.display());
    (path, place)
}

/// The ids of the decisions on a page, as they stand there.
fn ids(page: &str) -> Vec<String> {
    let links = page.split("href=\"/log/").skip(1);
    let ids = links.map(|rest| rest.split('"').next().unwrap().to_owned());
    ids.collect()
}

/// Where a link of the page leads.
fn linked(page: &str, rel: &str) -> Option<String> {
    let (before, _) = page.split_once(&format!("\" rel=\"{rel}\""))?;
    let (_, link) = before.rsplit_once("href=\"").unwrap();
    Some(link.replace("&#38;", "&"))
}

/// The ids of all pages of what is looked for, and how many pages these are.
async fn all_ids(browser: &Browser<'_>, query: &str) -> (Vec<String>, usize) {
    let mut page = browser.gets(&format!("/log?{query}")).await.text;
    let (mut all, mut pages) = (ids(&page), 1);
    while let Some(older) = linked(&page, "next") {
        page = browser.gets(&older).await.text;
        all.extend(ids(&page));
        pages += 1;
    }
    (all, pages)
}

async fn by_the_command(place: &str, args: &[&str]) -> Vec<String> {
    let args = [
        &["log", "--json", "--limit", "10000", "--audit", place],
        args,
    ]
    .concat();
    let output = run(&args).await;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let decisions = lines.filter(|line| line["event"] == "decision");
    let mut ids: Vec<_> = decisions
        .map(|line| line["decision"].as_str().unwrap().to_owned())
        .collect();
    ids.reverse();
    ids
}

#[tokio::test]
async fn what_is_looked_for_is_what_the_command_finds_page_by_page() {
    let (_, place) = records();
    let console = Console::start(POLICY, &["--audit", &place]).await;
    for _ in 0..53 {
        for tool in ["free", "wipe", "other", "secret"] {
            console.calls(tool).await;
        }
    }
    let viewer = console.signed_in(CAROL).await;
    let nobody = format!("caller={}", "x".repeat(10_000));
    for (query, args, pages) in [
        ("", &[][..], 3),
        ("verdict=denied", &["--verdict", "denied"], 2),
        ("verdict=hidden&name=secret", &["--verdict", "hidden"], 1),
        ("name=free", &["--name", "free"], 1),
        ("rule=%2Ftools", &["--rule", "/tools"], 2),
        ("rule=(default+deny)", &["--rule", "(default deny)"], 1),
        ("since=1h&caller=127.0.0.1", &["--since", "1h"], 3),
        ("since=2026-11-24&until=1h", &["--until", "1h"], 1),
        (&nobody, &["--caller", "nobody"], 1),
    ] {
        let found = all_ids(&viewer, query).await;
        let expected = by_the_command(&place, args).await;
        assert_eq!(found, (expected, pages), "{query}");
    }
    let of_server = all_ids(&viewer, &format!("server={}", console.server)).await;
    assert_eq!(of_server.0.len(), 4 * 53);
    // There and back again.
    let first = viewer.gets("/log").await.text;
    assert!(first.contains("data-live=\"decisions\""), "{first}");
    let second = viewer.gets(&linked(&first, "next").unwrap()).await.text;
    assert!(second.contains("data-live=\"\""), "{second}");
    let third = viewer.gets(&linked(&second, "next").unwrap()).await.text;
    assert_eq!(linked(&third, "next"), None);
    let back = viewer.gets(&linked(&third, "prev").unwrap()).await.text;
    assert_eq!(ids(&back), ids(&second));
    let back = viewer.gets(&linked(&back, "prev").unwrap()).await.text;
    assert_eq!((ids(&back), linked(&back, "prev")), (ids(&first), None));
    for wrong in ["since=yesterday", "until=1y", "verdict=maybe"] {
        let page = viewer.gets(&format!("/log?{wrong}")).await.text;
        assert!(page.contains("role=\"alert\""), "{page}");
        assert_eq!(ids(&page), [""; 0]);
    }
}

#[tokio::test]
async fn without_a_file_the_last_messages_are_shown() {
    let console = Console::start(POLICY, &[]).await;
    for _ in 0..130 {
        console.calls("free").await;
    }
    console.calls("wipe").await;
    let viewer = console.signed_in(CAROL).await;
    let page = viewer.gets("/log").await.text;
    assert!(page.contains("audit in <code>sqlite:PATH"), "{page}");
    let (all, pages) = all_ids(&viewer, "").await;
    assert_eq!((all.len(), pages), (131, 2));
    let second = viewer.gets(&linked(&page, "next").unwrap()).await.text;
    let back = viewer.gets(&linked(&second, "prev").unwrap()).await.text;
    assert_eq!(ids(&back), ids(&page));
    let (denied, _) = all_ids(&viewer, "verdict=denied&rule=/tools/wipe").await;
    assert_eq!(denied, all[..1]);
    let page = viewer.gets(&format!("/log/{}", all[0])).await.text;
    assert!(page.contains("Nothing is wiped."), "{page}");
    for unknown in ["/log/0123", "/log/", "/log/%00", "/log/a/b"] {
        assert_eq!(viewer.gets(unknown).await.status(), 404, "{unknown}");
    }
}

/// The page about the last decision about a tool.
async fn explained(browser: &Browser<'_>, tool: &str) -> String {
    let list = browser.gets(&format!("/log?name={tool}")).await.text;
    let id = &ids(&list)[0];
    let page = browser.gets(&format!("/log/{id}")).await;
    assert_eq!(page.status(), 200, "{}", page.text);
    page.text.replace("&#34;", "\"")
}

fn holds(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains("argument-value"), "{page}");
}

#[tokio::test]
async fn every_decision_is_explained_by_the_text_of_its_rule() {
    let (_, place) = records();
    let console = Console::start(POLICY, &["--audit", &place]).await;
    let (viewer, alice) = (
        console.signed_in(CAROL).await,
        console.signed_in(ALICE).await,
    );
    let twice = ["once", "often"];
    let once = ["free", "wipe", "secret", "noted", "tried", "other"];
    for tool in twice.iter().chain(&twice).chain(&once) {
        console.calls(tool).await;
    }
    for (tool, parts) in [
        ("free", &["mark allowed", "Nobody minds.", "line 6"][..]),
        (
            "wipe",
            &[
                "mark denied",
                "/tools/wipe/action",
                "\"action\": \"deny\"",
                "line 7",
                "The reason that it gives:",
            ],
        ),
        (
            "secret",
            &[
                "mark hidden",
                "\"action\": \"hide\"",
                "the entry that names it hides it",
            ],
        ),
        (
            "once",
            &[
                "mark limited",
                "/tools/once/limits/0",
                "\"counter\": \"calls\"",
            ],
        ),
        ("often", &["mark limited", "\"rate_limit\": {", "line 10"]),
        (
            "noted",
            &[
                "mark denied",
                "/tools/noted/require/0",
                "Say it otherwise.",
                "mark truth-false",
                "{\"path\":\"args.note\",\"op\":\"eq\",\"value\":\"another\"}",
                "<bdi>note</bdi>",
            ],
        ),
        (
            "tried",
            &["mark allowed", "If nothing were in shadow", "Only tried."],
        ),
        ("other", &["mark denied", "\"default\": \"deny\"", "line 4"]),
    ] {
        holds(&explained(&viewer, tool).await, parts);
        let policy = console.policy.display().to_string();
        holds(&explained(&viewer, tool).await, &["for-the-log", &policy]);
    }
    // What waits, and who has decided.
    let operator = async {
        let id = within("a call that waits", async {
            loop {
                let page = alice.gets("/approvals").await.text;
                if let Some((_, rest)) = page.split_once("action=\"/approvals/") {
                    break rest.split('/').next().unwrap().to_owned();
                }
            }
        })
        .await;
        let fields = [("csrf", &*alice.csrf().await), ("note", "")];
        let path = format!("/approvals/{id}/deny");
        assert_eq!(alice.posts(&path, &fields).await.status(), 303);
        id
    };
    let (_, id) = tokio::join!(console.calls("pay"), operator);
    let link = format!("/approvals/{id}");
    let parts = ["Money is gone for good.", "alice", &link];
    holds(&explained(&viewer, "pay").await, &parts);
}

#[tokio::test]
async fn who_explains_an_old_decision_says_that_the_policy_has_changed() {
    let (_, place) = records();
    let more = ["--audit", &*place];
    let mut console = Console::start(POLICY, &more).await;
    console.calls("wipe").await;
    let viewer = console.signed_in(CAROL).await;
    let page = explained(&viewer, "wipe").await;
    assert!(!page.contains("has changed since"), "{page}");
    let other = POLICY.replace("Nothing is wiped.", "Another reason.");
    put(&console.policy, &other);
    console.proxy.logs("digest").await;
    within("the other policy", async {
        while !console.calls("wipe").await.text.contains("Another reason.") {}
    })
    .await;
    let (all, _) = all_ids(&viewer, "name=wipe").await;
    let oldest = format!("/log/{}", all.last().unwrap());
    let page = viewer.gets(&oldest).await.text;
    holds(
        &page,
        &[
            "This is the text that decided",
            "Nothing is wiped.",
            "Digest now",
        ],
    );
    let page = explained(&viewer, "wipe").await;
    holds(&page, &["Another reason."]);
    // Another process knows only the digest.
    drop(viewer);
    console.proxy.signal("TERM").await;
    console.proxy.end().await;
    let again = Console::at(&console.server, &console.policy, &more).await;
    let viewer = again.signed_in(CAROL).await;
    let page = viewer.gets(&oldest).await.text;
    holds(
        &page,
        &[
            "not known any more",
            "What the policy says now",
            "Another reason.",
        ],
    );
    assert!(!page.contains("Nothing is wiped."), "{page}");
    let newest = viewer.gets(&format!("/log/{}", all[0])).await.text;
    holds(&newest, &["What the policy said", "Another reason."]);
}

/// What somebody could put into a page who must not.
pub(crate) const HOSTILE: &str = "</td></code><script>a</script>\u{202e}\u{1b}[2J\"'&<img src=x>";

pub(crate) fn is_harmless(page: &str) {
    let is_seen = |c: char| c == '\n' || "…–›→".contains(c) || (' '..='~').contains(&c);
    let other = page.chars().find(|&c| !is_seen(c));
    assert_eq!(other, None, "{page:?}");
    for hostile in ["<script>a", "<img", "</code><script>"] {
        assert!(!page.contains(hostile), "{hostile} in {page}");
    }
}

#[tokio::test]
async fn of_files_with_the_same_text_the_one_that_decided_is_shown() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[servers.one]\nurl = {:?}\n",
        upstream.url
    ));
    let mut tokens = Vec::new();
    for (label, policy) in [("ada", "a.json"), ("ben", "b.json")] {
        folder.put(policy, POLICY);
        tokens.push(folder.grant(label, "one", &["--policy", policy]).await);
    }
    let proxy = folder.serve_with(operators).await;
    for token in &tokens {
        assert_eq!(outcome(&proxy, "one", token, "free").await, "allowed");
    }
    let admin = admin(&proxy.log());
    let carol = Browser::signed_in_at(&admin, CAROL).await;
    for (label, mine, other) in [("ada", "/a.json", "/b.json"), ("ben", "/b.json", "/a.json")] {
        let page = carol.gets(&format!("/log?caller={label}")).await.text;
        let [id] = &*ids(&page) else { panic!("{page}") };
        let page = carol.gets(&format!("/log/{id}")).await.text;
        assert!(
            page.contains(mine) && !page.contains(other),
            "{label}: {page}"
        );
    }
}

#[tokio::test]
async fn nothing_that_is_recorded_takes_a_page_over() {
    let rule = json!({ "action": "deny", "reason": HOSTILE });
    let policy = json!({
        "version": "1", "name": HOSTILE, "default": "allow", "tools": { HOSTILE: rule },
    });
    let (_, place) = records();
    for more in [&["--server-name", HOSTILE, "--audit", &place][..], &[]] {
        let console = Console::start(&policy.to_string(), more).await;
        console.calls(HOSTILE).await;
        console.calls(&"x".repeat(10_000)).await;
        let mut message = call(1, "a");
        message["params"]["arguments"] = json!({ HOSTILE: 1 });
        console.proxy.post(&message).await;
        let viewer = console.signed_in(CAROL).await;
        let list = viewer.gets("/log").await.text;
        is_harmless(&list);
        assert_eq!(ids(&list).len(), 3);
        for id in ids(&list) {
            is_harmless(&viewer.gets(&format!("/log/{id}")).await.text);
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        for name in [
            "server", "caller", "name", "verdict", "rule", "since", "until",
        ] {
            query.append_pair(name, HOSTILE);
        }
        let page = viewer.gets(&format!("/log?{}", query.finish())).await;
        is_harmless(&page.text);
    }
}

#[tokio::test]
async fn who_is_not_signed_in_sees_no_record() {
    let console = Console::start(POLICY, &[]).await;
    console.calls("wipe").await;
    let viewer = console.signed_in(CAROL).await;
    let id = &ids(&viewer.gets("/log").await.text)[0];
    let nobody = Browser::at(&console.admin);
    for path in ["/log", &format!("/log/{id}"), "/limits", "/grants"] {
        let page = nobody.gets(path).await;
        assert_eq!(page.status(), 401, "{path}");
        assert!(!page.text.contains("wipe"), "{}", page.text);
    }
    let (request, form) = viewer.form("/log", &[("csrf", &viewer.csrf().await)]);
    let request = request.header("origin", viewer.url(""));
    let refused = send(request.body(Full::from(form)).unwrap()).await;
    assert_eq!(refused.status(), 405);
}
