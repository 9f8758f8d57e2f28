//! Limits that are in use.

use http_body_util::Full;
use serde_json::json;

use super::log::{ALICE, BOB, CAROL, Console, HOSTILE, is_harmless};
use crate::{
    gateway::{Folder, Recording, outcome},
    pages::Browser,
    support::{file, run, send},
};

const POLICY: &str = r#"{
  "version": "1",
  "default": "deny",
  "tools": {
    "run": { "limits": [ { "counter": "calls", "window": "day", "max": 2 } ] },
    "go": { "limits": [ { "counter": "calls", "window": "day", "max": 3 } ] }
  }
}"#;

/// What a form of the page says of the budget of a rule.
fn only(page: &str, rule: &str) -> String {
    let mut fields = page.split("name=\"what\" value=\"").skip(1);
    let fields = fields.by_ref().map(|rest| rest.split('"').next().unwrap());
    let mut fields = fields.map(|field| field.replace("&#34;", "\""));
    fields.find(|field| field.contains(rule)).unwrap()
}

async fn resets(browser: &Browser<'_>, what: &str, sure: &str) -> (u16, String) {
    let csrf = browser.csrf().await;
    let fields = [("csrf", &*csrf), ("what", what), ("sure", sure)];
    let answer = browser.posts("/limits/reset", &fields).await;
    (answer.status(), answer.text)
}

async fn are_shown_and_reset(state: &str) {
    let console = Console::start(POLICY, &["--state", state]).await;
    let alice = console.signed_in(ALICE).await;
    let page = alice.gets("/limits").await.text;
    assert!(page.contains("Nothing is counted now."), "{page}");
    for tool in ["run", "run", "go"] {
        assert!(console.passes(tool).await);
    }
    assert!(!console.passes("run").await);
    let page = alice.gets("/limits").await.text;
    for part in [
        "127.0.0.1",
        "/tools/run/limits/calls",
        "2 of 2",
        "used up",
        "1 of 3",
        "aria-label=\"33 of a hundred\"",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    for (query, run, go) in [
        ("rule=/tools/go/limits/calls", false, true),
        ("caller=127.0.0.1", true, true),
        ("caller=127.0.0.2", false, false),
        (&*format!("server={}", console.server), true, true),
        ("server=another", false, false),
        ("policy=another", false, false),
    ] {
        let page = alice.gets(&format!("/limits?{query}")).await.text;
        let found = ["2 of 2", "1 of 3"].map(|part| page.contains(part));
        assert_eq!(found, [run, go], "{query}");
    }
    // One of them alone.
    assert_eq!(
        resets(&alice, &only(&page, "/tools/run"), "yes").await.0,
        303
    );
    assert!(console.passes("run").await);
    console.proxy.logs("forgot what limits had counted").await;
    assert!(console.proxy.log().contains("operator=\"alice\""));
    let page = alice.gets("/limits").await.text;
    assert!(page.contains("1 of 2") && page.contains("1 of 3"), "{page}");
    // Everything, once that has been said twice.
    let all = "[null,null,null,null]";
    let (status, page) = resets(&alice, all, "").await;
    assert_eq!(status, 200);
    assert!(page.contains("<strong>Everything</strong>"), "{page}");
    assert!(alice.gets("/limits").await.text.contains("1 of 2"));
    assert_eq!(resets(&alice, all, "yes").await.0, 303);
    let page = alice.gets("/limits").await.text;
    assert!(page.contains("Nothing is counted now."), "{page}");
    for wrong in ["", "[]", "everything"] {
        assert_eq!(resets(&alice, wrong, "yes").await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn what_is_counted_in_memory_is_shown_and_forgotten() {
    are_shown_and_reset("memory").await;
    let output = run(&["limits", "list"]).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && text.contains("its console shows it"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_counted_in_a_file_is_shown_and_forgotten() {
    let path = file("state", "").with_file_name("state.db");
    are_shown_and_reset(&format!("sqlite:{}", path.display())).await;
}

#[tokio::test]
#[cfg(unix)]
#[ignore = "needs redis-server"]
async fn what_is_counted_on_redis_is_shown_and_forgotten() {
    let redis = crate::state::Redis::start().await;
    are_shown_and_reset(&redis.state()).await;
}

#[tokio::test]
async fn what_a_gateway_counts_for_each_grant_is_shown() {
    let upstream = Recording::start().await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[servers.one]\nurl = {:?}\n",
        upstream.url
    ));
    folder.put("policy.json", POLICY);
    let policy = ["--policy", "policy.json"];
    let bea = folder.grant("bea", "one", &policy).await;
    let cleo = folder.grant("cleo", "one", &policy).await;
    let proxy = folder.serve_with(super::log::operators).await;
    for token in [&bea, &bea, &cleo] {
        assert_eq!(outcome(&proxy, "one", token, "run").await, "allowed");
    }
    let admin = crate::approvals::admin(&proxy.log());
    let alice = Browser::signed_in_at(&admin, ALICE).await;
    let page = alice.gets("/limits?caller=bea").await.text;
    assert!(page.contains("2 of 2") && !page.contains("cleo"), "{page}");
    let used_up = "/tools/run/limits/calls";
    assert_eq!(outcome(&proxy, "one", &bea, "run").await, used_up);
    assert_eq!(resets(&alice, &only(&page, "bea"), "yes").await.0, 303);
    assert_eq!(outcome(&proxy, "one", &bea, "run").await, "allowed");
    let page = alice.gets("/limits?caller=cleo").await.text;
    assert!(page.contains("1 of 2"), "{page}");
}

#[tokio::test]
async fn only_an_admin_forgets_and_only_by_a_form_of_the_page() {
    let console = Console::start(POLICY, &[]).await;
    for _ in 0..2 {
        assert!(console.passes("run").await);
    }
    let all = "[null,null,null,null]";
    for token in [BOB, CAROL] {
        let browser = console.signed_in(token).await;
        let page = browser.gets("/limits").await.text;
        assert!(
            page.contains("2 of 2") && !page.contains("/limits/reset"),
            "{page}"
        );
        assert_eq!(resets(&browser, all, "yes").await.0, 403);
        assert_eq!(resets(&browser, all, "").await.0, 403);
    }
    let alice = console.signed_in(ALICE).await;
    let own = alice.csrf().await;
    for (csrf, origin) in [
        ("", alice.url("")),
        (&own, "https://evil.example".to_owned()),
        (&own, "null".to_owned()),
    ] {
        let fields = [("csrf", csrf), ("what", all), ("sure", "yes")];
        let (request, form) = alice.form("/limits/reset", &fields);
        let request = request.header("origin", origin);
        let refused = send(request.body(Full::from(form)).unwrap()).await;
        assert_eq!(refused.status(), 403);
    }
    assert_eq!(alice.gets("/limits/reset").await.status(), 405);
    assert!(!console.passes("run").await);
}

#[tokio::test]
async fn names_on_the_page_are_harmless_and_come_back_whole() {
    let policy = json!({
        "version": "1", "name": HOSTILE, "default": "deny",
        "tools": { HOSTILE: { "limits": [ { "counter": "calls", "window": "day", "max": 1 } ] } },
    });
    let console = Console::start(&policy.to_string(), &["--server-name", HOSTILE]).await;
    assert!(console.passes(HOSTILE).await && !console.passes(HOSTILE).await);
    let alice = console.signed_in(ALICE).await;
    let page = alice.gets("/limits").await.text;
    is_harmless(&page);
    let field = only(&page, "/limits/calls");
    let field = field.replace("&#60;", "<").replace("&#62;", ">");
    let field = field.replace("&#39;", "'").replace("&#38;", "&");
    let (_, asked) = resets(&alice, &field, "").await;
    is_harmless(&asked);
    assert!(asked.contains("<dt>Budgets</dt><dd>1</dd>"), "{asked}");
    assert_eq!(resets(&alice, &field, "yes").await.0, 303);
    assert!(console.passes(HOSTILE).await);
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["server", "caller", "rule", "policy"] {
        query.append_pair(name, HOSTILE);
    }
    let page = alice.gets(&format!("/limits?{}", query.finish())).await;
    is_harmless(&page.text);
}
