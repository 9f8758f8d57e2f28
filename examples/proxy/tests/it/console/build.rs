//! The policies, and how they are changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    approvals::admin,
    demo,
    fake::Upstream,
    gateway::{Folder, OPERATOR, outcome},
    pages::Browser,
    support::{Answer, Proxy, call, command, file, put, send, within},
};

const ALICE: &str = "alices-token-0123456789";
const BOB: &str = "bobs-token-01234567890";
const CAROL: &str = "carols-token-0123456789";

const POLICY: &str = r#"{ "version": "1", "default": "deny" }
"#;

/// A server that offers tools, and answers every call.
async fn offers(tools: Value) -> String {
    let upstream = Upstream::bind().await;
    let url = format!("http://{}/mcp", upstream.address());
    tokio::spawn(async move {
        loop {
            let mut asked = upstream.asked().await;
            let message: Value = serde_json::from_str(&asked.body).unwrap_or_default();
            let result = match message["method"].as_str() {
                Some("initialize") => json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": { "tools": {} },
                    "serverInfo": { "name": "fake", "version": "1" },
                }),
                Some("tools/list") => json!({ "tools": tools }),
                _ => json!({ "content": [] }),
            };
            let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
            let (status, body) = match message["id"].is_null() {
                true => ("202 Accepted", String::new()),
                false => ("200 OK", answer.to_string()),
            };
            asked.says(status, "", &body).await;
        }
    });
    url
}

/// A proxy with a console in front of such a server.
struct Served {
    proxy: Proxy,
    admin: String,
    policy: PathBuf,
}

impl Served {
    async fn with(policy: &str, tools: Value) -> Self {
        Self::at(file("policy.json", policy), tools, &[]).await
    }

    async fn at(policy: PathBuf, tools: Value, more: &[&str]) -> Self {
        let url = offers(tools).await;
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--upstream", &url]);
        command
            .args(["--server-name", "fake", "--admin", "127.0.0.1:0"])
            .args(more)
            .arg("--policy")
            .arg(&policy)
            .env("RUST_LOG", "info")
            .env(
                "MCP_POLICY_ADMIN_TOKENS",
                format!("alice:{ALICE},bob:{BOB},carol:{CAROL}"),
            )
            .env(
                "MCP_POLICY_ADMIN_ROLES",
                "alice:admin,bob:policy-manager,carol:viewer",
            );
        let proxy = Proxy::spawn(&mut command).await;
        let admin = admin(&proxy.log());
        Self {
            proxy,
            admin,
            policy,
        }
    }

    async fn as_(&self, token: &str) -> Editing<'_> {
        Editing::of(".json", &self.admin, token).await
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.policy).unwrap()
    }

    fn previous(&self) -> PathBuf {
        let mut path = self.policy.clone().into_os_string();
        path.push(".previous");
        path.into()
    }

    /// By which rule a call of a tool is refused; `allowed` if it is not.
    async fn calls(&self, tool: &str, arguments: &Value) -> String {
        let mut message = call(1, tool);
        message["params"]["arguments"] = arguments.clone();
        let answer = self.proxy.post(&message).await.json();
        match answer["result"]["isError"].as_bool() {
            Some(true) => answer["result"]["content"][0]["text"].to_string(),
            _ if answer["error"].is_object() => answer["error"].to_string(),
            _ => "allowed".to_owned(),
        }
    }
}

/// Somebody who edits a policy in a browser without scripts.
struct Editing<'a> {
    browser: Browser<'a>,
    path: String,
    csrf: String,
    page: Answer,
}

impl<'a> Editing<'a> {
    /// The policy of a file, once it is known what the server offers.
    async fn of(name: &str, admin: &'a str, token: &str) -> Self {
        let browser = Browser::signed_in_at(admin, token).await;
        let list = browser.gets("/policies").await.text;
        let row = list.split("<tr>").find(|row| row.contains(name));
        let row = row.unwrap_or_else(|| panic!("no {name}: {list}"));
        let (_, rest) = row.split_once("href=\"/policies/").unwrap();
        let id = rest.split('"').next().unwrap();
        let csrf = browser.csrf().await;
        let path = format!("/policies/{id}");
        let page = within("the tools of the server", async {
            loop {
                let page = browser.gets(&path).await;
                if !page.text.contains("being asked") {
                    return page;
                }
            }
        })
        .await;
        Editing {
            browser,
            path,
            csrf,
            page,
        }
    }

    /// What is in the form of the page, as a browser sends it.
    fn fields(&self) -> Vec<(String, String)> {
        fields(&self.page.text)
    }

    fn field(&self, name: &str) -> String {
        let mut fields = self.fields().into_iter();
        let found = fields.find(|(own, _)| own == name);
        found
            .unwrap_or_else(|| panic!("no {name}: {}", self.page.text))
            .1
    }

    fn text(&self) -> String {
        self.field("text").replace("\r\n", "\n")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// Changes these fields, and presses a button.
    async fn sends(&mut self, verb: &str, pressed: &[&str], changed: &[(&str, &str)]) -> u16 {
        let mut fields = self.fields();
        for (name, value) in changed {
            match fields.iter_mut().find(|(own, _)| own == name) {
                Some((_, own)) => *own = (*value).to_owned(),
                None => fields.push(((*name).to_owned(), (*value).to_owned())),
            }
        }
        if !pressed.is_empty() {
            let pressed = json!(pressed).to_string();
            fields.push(("do".to_owned(), pressed));
        }
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.page = self
            .browser
            .posts(&format!("{}/{verb}", self.path), &fields)
            .await;
        self.page.status()
    }

    async fn presses(&mut self, pressed: &[&str]) {
        self.changes(pressed, &[]).await;
    }

    async fn changes(&mut self, pressed: &[&str], changed: &[(&str, &str)]) {
        let status = self.sends("edit", pressed, changed).await;
        assert_eq!(status, 200, "{}", self.page.text);
    }

    /// Writes this text by hand.
    async fn writes(&mut self, text: &str) {
        self.changes(&["apply"], &[("text", text)]).await;
    }

    /// Has it reviewed, saves it, and looks at what the page says then.
    async fn saves(&mut self) {
        self.presses(&["review"]).await;
        assert!(
            self.page.text.contains(">Save</button>"),
            "{}",
            self.page.text
        );
        assert_eq!(
            self.sends("save", &[], &[]).await,
            303,
            "{}",
            self.page.text
        );
        let to = self.page.header("location").unwrap().to_owned();
        self.page = self.browser.gets(&to).await;
        assert!(
            self.page
                .text
                .contains("Saved. It holds from the next call on."),
            "{}",
            self.page.text
        );
    }
}

/// The fields of the only form with a text, as a browser sends them when no button of it is
/// pressed.
fn fields(page: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let (_, form) = page
        .split_once("method=\"post\" action=\"/policies/")
        .unwrap();
    let (form, _) = form.split_once("</form>").unwrap();
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        rest.split('"').next().map(plain)
    };
    let mut rest = form;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = rest.find('>').unwrap();
        let tag = &rest[..end];
        let Some(name) = attribute(tag, "name") else {
            continue;
        };
        if tag.starts_with("input") {
            if tag.contains("type=\"checkbox\"") && !tag.ends_with(" checked") {
                continue;
            }
            fields.push((name, attribute(tag, "value").unwrap_or_default()));
        } else if tag.starts_with("textarea") {
            let inside = rest[end + 1..].split("</textarea>").next().unwrap();
            let inside = inside.strip_prefix('\n').unwrap_or(inside);
            fields.push((name, plain(inside).replace('\n', "\r\n")));
        } else if tag.starts_with("select") {
            let inside = rest[end + 1..].split("</select>").next().unwrap();
            let options: Vec<_> = inside.split("<option").skip(1).collect();
            let chosen = options
                .iter()
                .find(|option| option.split('>').next().unwrap().ends_with(" selected"))
                .or(options.first());
            let value = chosen.and_then(|option| attribute(option, "value"));
            fields.push((name, value.unwrap_or_default()));
        }
    }
    fields
}

/// Text of HTML as it is read.
fn plain(text: &str) -> String {
    let mut plain = text.to_owned();
    for (escape, character) in [
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&quot;", "\""),
        ("&#38;", "&"),
    ] {
        plain = plain.replace(escape, character);
    }
    plain
}

#[tokio::test]
async fn what_is_saved_holds_from_the_next_call_on_and_can_be_taken_back() {
    let served = Served::with(POLICY, json!([{ "name": "read" }, { "name": "write" }])).await;
    let mut bob = served.as_(BOB).await;
    assert!(
        bob.page
            .text
            .contains("Holds for <bdi>everybody on fake</bdi>")
    );
    assert_eq!(bob.text(), POLICY);
    let nothing = json!({});
    assert_ne!(served.calls("read", &nothing).await, "allowed");
    let odd = "{\"version\":\"1\",\n\t\"default\" :\"deny\",\"description\": \"12345678901234567890 </textarea>\",\n\n\
               \"tools\":{ \"read\":{\"require\":[{\"conditions\":[{\"path\":\"args.n\",\"op\":\"lte\",\"value\":1.0}]}]} } }";
    bob.writes(odd).await;
    assert_eq!(bob.text(), odd);
    assert_eq!(served.text(), POLICY);
    bob.presses(&["review"]).await;
    for part in [
        "1 of 2 tools get",
        "would have been decided otherwise",
        "1 calls",
        "needs arguments",
    ] {
        assert!(bob.page.text.contains(part), "no {part}: {}", bob.page.text);
    }
    assert_eq!(bob.sends("edit", &[], &[]).await, 200);
    assert_eq!(bob.text(), odd);
    bob.saves().await;
    assert_eq!(served.text(), odd);
    assert_eq!(fs::read_to_string(served.previous()).unwrap(), POLICY);
    assert_eq!(served.calls("read", &json!({ "n": 1 })).await, "allowed");
    assert_ne!(served.calls("read", &json!({ "n": 2 })).await, "allowed");
    let log = served.proxy.log();
    assert!(
        log.contains("saved a policy") && log.contains("operator=\"bob\""),
        "{log}"
    );

    let overview = bob.browser.gets("/").await.text;
    assert!(overview.contains("Saved the policy"), "{overview}");

    bob.presses(&["previous"]).await;
    assert_eq!(bob.text(), POLICY);
    bob.saves().await;
    assert_eq!(served.text(), POLICY);
    assert_eq!(fs::read_to_string(served.previous()).unwrap(), odd);
    assert_ne!(served.calls("read", &json!({ "n": 1 })).await, "allowed");
}

#[tokio::test]
async fn what_does_not_load_is_shown_with_its_places_and_not_saved() {
    let served = Served::with(POLICY, json!([])).await;
    let mut bob = served.as_(BOB).await;
    let broken = "{ \"version\": \"1\",\n  \"defualt\": \"deny\" }";
    bob.writes(broken).await;
    for part in [
        "1 error<",
        "line 2, column 3",
        "unknown field",
        "did you mean `default`?",
        "/defualt",
    ] {
        assert!(bob.page.text.contains(part), "no {part}: {}", bob.page.text);
    }
    bob.presses(&["review"]).await;
    assert!(!bob.page.text.contains(">Save</button>"));
    assert_eq!(bob.sends("save", &[], &[]).await, 422);
    assert!(bob.page.text.contains("Nothing was saved"));
    assert_eq!(bob.text(), broken);
    bob.writes("no JSON </textarea><script>").await;
    assert_eq!(bob.text(), "no JSON </textarea><script>");
    assert!(!bob.page.text.contains("<script>"));
    assert_eq!(served.text(), POLICY);
    assert!(!served.previous().exists());
}

#[tokio::test]
async fn of_two_who_change_the_same_nobody_overwrites_the_other() {
    let served = Served::with(POLICY, json!([{ "name": "read" }])).await;
    let (mut alice, mut bob) = (served.as_(ALICE).await, served.as_(BOB).await);
    let theirs = r#"{ "version": "1", "default": "deny", "name": "bobs" }"#;
    alice
        .writes(r#"{ "version": "1", "default": "hide" }"#)
        .await;
    bob.writes(theirs).await;
    alice.presses(&["review"]).await;
    bob.saves().await;
    assert_eq!(alice.sends("save", &[], &[]).await, 409);
    for part in ["somebody has changed the file", "bobs", "Save</button>"] {
        assert!(
            alice.page.text.contains(part),
            "no {part}: {}",
            alice.page.text
        );
    }
    assert_eq!(served.text(), theirs);
    // Who has seen what the other has written may replace it.
    assert_eq!(alice.sends("save", &[], &[]).await, 303);
    assert!(served.text().contains("hide"));
    assert_eq!(fs::read_to_string(served.previous()).unwrap(), theirs);
    // So it is with whoever writes the file elsewhere.
    put(&served.policy, POLICY);
    bob.page = bob.browser.gets(&bob.path).await;
    put(&served.policy, theirs);
    assert_eq!(
        bob.sends(
            "save",
            &[],
            &[("text", "{\"version\":\"1\",\"default\":\"allow\"}")]
        )
        .await,
        409
    );
    assert_eq!(served.text(), theirs);
}

#[tokio::test]
async fn only_who_may_change_policies_does_so_and_only_from_here() {
    let served = Served::with(POLICY, json!([{ "name": "read" }])).await;
    let carol = served.as_(CAROL).await;
    assert!(carol.page.text.contains("readonly"));
    assert!(!carol.page.text.contains("Review and save"));
    let bob = served.as_(BOB).await;
    let text = r#"{ "version": "1", "default": "allow" }"#;
    let base = bob.field("base");
    for verb in ["edit", "save"] {
        let path = format!("{}/{verb}", bob.path);
        let fields = |csrf| [("csrf", csrf), ("base", &*base), ("text", text)];
        let refused = carol.browser.posts(&path, &fields(&*carol.csrf)).await;
        assert_eq!(refused.status(), 403);
        assert!(refused.text.contains("viewer"), "{}", refused.text);
        for csrf in ["", &*carol.csrf] {
            assert_eq!(bob.browser.posts(&path, &fields(csrf)).await.status(), 403);
        }
        for origin in [None, Some("null"), Some("https://evil.example")] {
            let (mut request, form) = bob.browser.form(&path, &fields(&*bob.csrf));
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let refused = send(request.body(Full::from(form)).unwrap()).await;
            assert_eq!(refused.status(), 403, "{origin:?}");
        }
        let nobody = Browser::at(&served.admin);
        assert_eq!(nobody.posts(&path, &fields(&*bob.csrf)).await.status(), 401);
        assert_eq!(bob.browser.gets(&path).await.status(), 405);
        let unknown = format!("/policies/0123456789ab/{verb}");
        let refused = bob.browser.posts(&unknown, &fields(&*bob.csrf)).await;
        assert_eq!(refused.status(), 404);
    }
    assert_eq!(
        Browser::at(&served.admin).gets(&bob.path).await.status(),
        401
    );
    let long = "x".repeat((1 << 20) + 1);
    let fields = [("csrf", &*bob.csrf), ("base", &*base), ("text", &*long)];
    let refused = bob
        .browser
        .posts(&format!("{}/save", bob.path), &fields)
        .await;
    assert_eq!(refused.status(), 413);
    assert_eq!(served.text(), POLICY);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_stays_one_and_where_nothing_can_be_written_nothing_is_lost() {
    let target = file("target.json", POLICY);
    let link = target.with_file_name("link.json");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let served = Served::at(link.clone(), json!([]), &[]).await;
    let mut bob = served.as_(BOB).await;
    let text = r#"{ "version": "1", "default": "hide" }"#;
    bob.writes(text).await;
    let previous: &Path = &target.with_file_name("target.json.previous");
    fs::create_dir(previous).unwrap();
    assert_eq!(bob.sends("save", &[], &[]).await, 500);
    for part in ["cannot be kept", "Nothing was changed"] {
        assert!(bob.page.text.contains(part), "{}", bob.page.text);
    }
    assert_eq!(bob.text(), text);
    assert_eq!(served.text(), POLICY);
    fs::remove_dir(previous).unwrap();
    bob.saves().await;
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), text);
    assert_eq!(fs::read_to_string(previous).unwrap(), POLICY);
}

/// What the buttons of a page say.
fn buttons(page: &str) -> Vec<Vec<String>> {
    let all = page.split("name=\"do\" value=\"").skip(1);
    let all = all.map(|rest| plain(rest.split('"').next().unwrap()));
    all.map(|value| serde_json::from_str(&value).unwrap())
        .collect()
}

#[tokio::test]
async fn a_policy_is_built_with_buttons_alone_and_holds() {
    let tools = json!([{ "name": "download_execution_logs" }, { "name": "delete_flow" }]);
    let served = Served::with("{\"version\":\"1\",\"default\":\"allow\"}", tools).await;
    let mut bob = served.as_(BOB).await;
    for part in [
        "destructive",
        "2 tools and entries",
        "Every call",
        "aria-pressed=\"true\"",
    ] {
        assert!(bob.page.text.contains(part), "no {part}: {}", bob.page.text);
    }
    bob.presses(&["empty"]).await;
    bob.presses(&["rule", "allow", "/tools/download_execution_logs"])
        .await;
    let expected = json!({
        "version": "1", "default": "deny", "tools": { "download_execution_logs": {} },
    });
    assert_eq!(bob.json(), expected);
    // What is chosen and taken back again leaves nothing.
    for verdict in ["deny", "hide", "allow", "default"] {
        bob.presses(&["rule", verdict, "/tools/delete_flow"]).await;
        bob.presses(&["rule", verdict, "/risk/read"]).await;
    }
    assert_eq!(bob.json(), expected);
    bob.changes(&["apply"], &[("f/default", "hide"), ("f/mode", "shadow")])
        .await;
    assert_eq!(bob.json()["default"], "hide");
    assert_eq!(bob.json()["mode"], "shadow");
    bob.changes(&["apply"], &[("f/default", "deny"), ("f/mode", "enforce")])
        .await;
    bob.presses(&["review"]).await;
    for part in [
        "1 of 2 tools get another verdict, 1 more keep theirs",
        "delete_flow",
        "(default deny)",
        "-",
        "+",
    ] {
        assert!(bob.page.text.contains(part), "no {part}: {}", bob.page.text);
    }
    bob.presses(&[]).await;
    bob.saves().await;
    assert_eq!(
        served.calls("download_execution_logs", &json!({})).await,
        "allowed"
    );
    assert_ne!(served.calls("delete_flow", &json!({})).await, "allowed");
    bob.presses(&["recommended"]).await;
    let recommended = bob.json();
    assert_eq!(recommended["tools"]["delete_flow"]["action"], "hide");
    assert!(!bob.page.text.contains(" error"), "{}", bob.page.text);
}

#[tokio::test]
async fn limits_reasons_approvals_and_conditions_are_chosen_and_hold() {
    let tools = json!([
        { "name": "read" }, { "name": "wipe" }, { "name": "publish" },
        { "name": "pay", "inputSchema": { "required": ["amount"], "properties": {
            "amount": { "type": "number", "description": "How <b>much</b>." },
            "to": { "type": "string", "enum": ["shop", "bank"] },
        } } },
    ]);
    let served = Served::with(POLICY, tools).await;
    let mut bob = served.as_(BOB).await;
    bob.presses(&["rule", "deny", "/tools/wipe"]).await;
    bob.presses(&["open", "/tools/wipe"]).await;
    bob.changes(&["apply"], &[("f/tools/wipe/reason", "Never.")])
        .await;
    bob.presses(&["open", "/tools/read"]).await;
    let rate = [
        ("f/tools/read/rate_limit/max", "2"),
        ("f/tools/read/rate_limit/window", "hour"),
    ];
    bob.changes(&["open", "/tools/publish"], &rate).await;
    bob.changes(&["apply"], &[("f/tools/publish/require_approval", "yes")])
        .await;
    assert_eq!(
        bob.json()["tools"]["publish"],
        json!({ "require_approval": true })
    );
    let reason = (
        "f/tools/publish/require_approval/reason",
        "Everybody sees it.",
    );
    bob.changes(&["open", "/tools/pay"], &[reason]).await;
    assert!(
        bob.page.text.contains("How &#60;b&#62;much&#60;/b&#62;."),
        "{}",
        bob.page.text
    );
    let condition = [
        ("new/0/effect", "require"),
        ("new/0/op", "lte"),
        ("new/0/value", "500"),
    ];
    bob.changes(&["condition", "0", "args.amount"], &condition)
        .await;
    let op = "f/tools/pay/require/0/conditions/0/op";
    bob.changes(&["apply"], &[(op, "in")]).await;
    let changed = bob.json()["tools"]["pay"]["require"][0]["conditions"][0].clone();
    let expected = json!({ "path": "args.amount", "op": "in", "value": [500] });
    assert_eq!(changed, expected);
    bob.changes(&["apply"], &[(op, "lte")]).await;
    let condition = [
        ("new/1/effect", "deny_if"),
        ("new/1/op", "in"),
        ("new/1/pick", "\"bank\""),
    ];
    bob.changes(&["condition", "1", "args.to"], &condition)
        .await;
    bob.presses(&["limit", "args.amount"]).await;
    bob.changes(&["apply"], &[("f/tools/pay/limits/0/max", "600.50")])
        .await;
    let check = |path: &str, op: &str, value: Value| json!([{ "conditions": [{ "path": path, "op": op, "value": value }] }]);
    let expected = json!({
        "version": "1", "default": "deny",
        "tools": {
            "wipe": { "action": "deny", "reason": "Never." },
            "read": { "rate_limit": { "max": 2, "window": "hour" } },
            "publish": { "require_approval": { "reason": "Everybody sees it." } },
            "pay": {
                "require": check("args.amount", "lte", json!(500)),
                "deny_if": check("args.to", "in", json!(["bank"])),
                "limits": [{
                    "counter": "amount", "window": "day", "max": 600.5,
                    "increment_from": "args.amount",
                }],
            },
        },
    });
    assert_eq!(bob.json(), expected);
    assert!(bob.text().contains("600.50"));
    bob.saves().await;
    let nothing = json!({});
    assert!(served.calls("wipe", &nothing).await.contains("Never."));
    assert_eq!(served.calls("read", &nothing).await, "allowed");
    assert_eq!(served.calls("read", &nothing).await, "allowed");
    assert_ne!(served.calls("read", &nothing).await, "allowed");
    for (arguments, expected) in [
        (json!({ "amount": 501, "to": "shop" }), false),
        (json!({ "amount": 1, "to": "bank" }), false),
        (json!({ "amount": 500, "to": "shop" }), true),
        (json!({ "amount": 200, "to": "shop" }), false),
        (json!({ "amount": 100, "to": "shop" }), true),
    ] {
        let said = served.calls("pay", &arguments).await;
        assert_eq!(said == "allowed", expected, "{arguments}: {said}");
    }
    let alice = served.as_(ALICE).await;
    let waits = async {
        within("a call that waits", async {
            while !alice
                .browser
                .gets("/approvals")
                .await
                .text
                .contains("Everybody sees it.")
            {}
        })
        .await;
    };
    tokio::select! {
        said = served.calls("publish", &nothing) => panic!("{said}"),
        () = waits => {}
    }

    // And all of it is taken away again.
    bob.presses(&["open", "/tools/pay"]).await;
    for part in [
        "require/0/conditions/0",
        "deny_if/0/conditions/0",
        "limits/0",
    ] {
        bob.presses(&["remove", &format!("/tools/pay/{part}")])
            .await;
    }
    assert_eq!(bob.json()["tools"]["pay"], json!({}));
    bob.presses(&["open", "/tools/read"]).await;
    bob.changes(
        &["open", "/tools/publish"],
        &[("f/tools/read/rate_limit/max", "")],
    )
    .await;
    bob.changes(&["apply"], &[("f/tools/publish/require_approval", "")])
        .await;
    let tools = bob.json()["tools"].clone();
    assert_eq!(
        (&tools["read"], &tools["publish"]),
        (&json!({}), &json!({}))
    );
}

#[tokio::test]
async fn what_nobody_changes_stays_as_it_is_written() {
    let odd = "{\"version\" : \"1\",\"default\":\"deny\",\n\t\"name\":\"\\u00e9\",\"description\":\"a\\nb\\u202e\",\n\
        \"tools\":{ \"pay\":{\"require\":[{\"on_deny\":\"No.\",\"conditions\":[{\"op\":\"in\",\"path\":\"args.to\",\"value\":[\"a\",\n\"b, c\"]},\
        {\"path\":\"args.n\",\"op\":\"eq\",\"value\":1.0}]}],\"rate_limit\":\"10/minute\",\
        \"description\":\"tab\\there\",\"limits\":[{\"counter\":\"c\",\"window\":7.0e1,\"max\":12345678901.50}]},\
        \"ask\" : { \"action\":\"require_approval\",\"reason\":\"Why.\" } } }\n\n";
    let served = Served::with(odd, json!([{ "name": "pay" }])).await;
    let mut bob = served.as_(BOB).await;
    for at in [
        "/tools/pay",
        "/tools/ask",
        "/all_tools",
        "/risk/write",
        "/nowhere",
    ] {
        bob.presses(&["open", at]).await;
        assert_eq!(bob.text(), odd);
        bob.presses(&["apply"]).await;
        assert_eq!(bob.text(), odd);
        assert!(!bob.page.text.contains("data-changed"), "{}", bob.page.text);
    }
    // What is written in short is written at length once a part of it is another.
    bob.presses(&["open", "/tools/pay"]).await;
    bob.changes(
        &["open", "/tools/ask"],
        &[("f/tools/pay/rate_limit/max", "11")],
    )
    .await;
    let rest = odd.replace("\"10/minute\"", "{ \"max\": 11, \"window\": \"minute\" }");
    assert_eq!(bob.text(), rest);
    bob.changes(
        &["apply"],
        &[("f/tools/ask/require_approval/expires", "60")],
    )
    .await;
    let asks = json!({ "require_approval": { "reason": "Why.", "expires": 60 } });
    assert_eq!(bob.json()["tools"]["ask"], asks);
    // Whoever writes by hand is right, whatever the fields show.
    let fields = [
        ("text", odd),
        ("f/tools/ask/require_approval/expires", "61"),
        ("f/default", "allow"),
    ];
    bob.changes(&["apply"], &fields).await;
    assert_eq!(bob.text(), odd);
    bob.presses(&["reload"]).await;
    assert_eq!(bob.text(), odd);
}

#[tokio::test]
async fn names_that_should_fool_somebody_do_not() {
    let names = [
        "</textarea><script>alert(1)</script>",
        "\"onclick=\"x",
        "a/b~c~1",
        "*\\*",
        "\u{202e}live",
        "\u{1f642}",
        "two\r\nlines",
        "__proto__",
        "x".repeat(10_000).leak(),
    ];
    let tools: Vec<_> = names
        .iter()
        .map(|name| {
            json!({ "name": name, "description": name, "inputSchema": { "properties": {
            (*name): { "type": "string", "description": name, "enum": [name] },
        } } })
        })
        .collect();
    let served = Served::with(POLICY, json!(tools)).await;
    let mut bob = served.as_(BOB).await;
    let allows = buttons(&bob.page.text).into_iter();
    let allows = allows.filter(|button| {
        button.len() == 3 && button[..2] == ["rule", "allow"] && button[2].starts_with("/tools/")
    });
    let allows: Vec<_> = allows.collect();
    assert_eq!(allows.len(), names.len());
    for button in &allows {
        let button: Vec<&str> = button.iter().map(String::as_str).collect();
        bob.presses(&button).await;
        bob.presses(&["open", button[2]]).await;
        let add = buttons(&bob.page.text)
            .into_iter()
            .find(|button| button[0] == "condition");
        let add = add.unwrap();
        let add: Vec<&str> = add.iter().map(String::as_str).collect();
        bob.changes(&add, &[("new/0/op", "exists")]).await;
        for part in ["<script>", "\u{202e}", "<bdi>\"", "style="] {
            assert!(!bob.page.text.contains(part), "{part} in {}", bob.page.text);
        }
    }
    let entries = bob.json()["tools"].as_object().unwrap().clone();
    for name in names {
        let key = name.replace('\\', "\\\\").replace('*', "\\*");
        let rule = &entries[&key];
        assert_eq!(rule["require"].as_array().unwrap().len(), 1, "{rule}");
        assert_ne!(served.calls(name, &json!({})).await, "allowed");
    }
    assert!(!bob.page.text.contains("mark error"), "{}", bob.page.text);
    for button in &allows {
        let button: Vec<&str> = button.iter().map(String::as_str).collect();
        bob.presses(&button).await;
    }
    bob.presses(&["close"]).await;
    bob.saves().await;
    // The last is too long to be called at all.
    for name in &names[..names.len() - 1] {
        assert_eq!(served.calls(name, &json!({})).await, "allowed", "{name}");
    }
}

#[tokio::test]
async fn a_thousand_tools_come_in_parts_and_can_be_looked_for() {
    let tools: Vec<_> = (0..1_000)
        .map(
            |index| json!({ "name": format!("tool_{index:04}"), "description": "x".repeat(2_000) }),
        )
        .collect();
    let served = Served::with(POLICY, json!(tools)).await;
    let mut bob = served.as_(BOB).await;
    assert!(
        bob.page
            .text
            .contains("1000 tools and entries, part 1 of 10")
    );
    assert!(bob.page.text.len() < 300_000, "{}", bob.page.text.len());
    bob.presses(&["part", "9"]).await;
    assert!(bob.page.text.contains("tool_0999") && !bob.page.text.contains("tool_0001"));
    bob.changes(&["filter"], &[("filter", "_050")]).await;
    assert!(
        bob.page.text.contains("10 tools and entries"),
        "{}",
        bob.page.text
    );
    bob.presses(&["rule", "allow", "/tools/tool_0500"]).await;
    assert!(bob.page.text.contains("10 tools and entries"));
    bob.presses(&["review"]).await;
    assert!(bob.page.text.contains("1 of 1000 tools get"));
    // Who may not change anything has links instead.
    let carol = served.as_(CAROL).await;
    assert!(carol.page.text.contains("<a href=\"?part=9\">10</a>"));
    let last = carol
        .browser
        .gets(&format!("{}?part=9", carol.path))
        .await
        .text;
    assert!(
        last.contains("tool_0999") && !last.contains("name=\"do\""),
        "{last}"
    );
}

#[tokio::test]
async fn the_review_tells_what_would_become_of_recorded_calls() {
    for kind in ["", "sqlite:"] {
        let audit = file("unused", "").with_file_name("audit");
        let audit = format!("{kind}{}", audit.display());
        let policy =
            r#"{ "version": "1", "default": "allow", "tools": { "write": { "action": "deny" } } }"#;
        let tools = json!([{ "name": "read" }, { "name": "write" }]);
        let served = Served::at(file("policy.json", policy), tools, &["--audit", &audit]).await;
        for tool in ["read", "read", "write", "other"] {
            served.calls(tool, &json!({})).await;
        }
        let mut bob = served.as_(BOB).await;
        bob.presses(&["rule", "deny", "/tools/read"]).await;
        bob.presses(&["rule", "allow", "/tools/write"]).await;
        bob.presses(&["review"]).await;
        for part in [
            "2 of 2 tools get another verdict",
            "From the audit file: 4 calls, of which 3 would have been decided otherwise, 1 the same",
            "tool `read`",
            "<td class=\"number\" data-label=\"Times\">2</td>",
            "allow by /default",
            "deny by /tools/read/action",
        ] {
            assert!(bob.page.text.contains(part), "no {part}: {}", bob.page.text);
        }
    }
}

#[tokio::test]
async fn a_policy_of_a_gateway_is_changed_for_everybody_who_has_it() {
    let one = offers(json!([{ "name": "read" }, { "name": "write" }])).await;
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\n[servers.one]\nurl = {one:?}\n\n\
         [servers.two]\ncommand = [\"./no-such-program\"]\n",
    ));
    let grant =
        async |label, server, policy| folder.grant(label, server, &["--policy", policy]).await;
    let alice = grant("alice", "one", "all.json").await;
    let bob = grant("bob", "one", "readers.json").await;
    grant("carol", "two", "readers.json").await;
    let proxy = folder.serve_operated().await;
    let admin = admin(&proxy.log());
    for (token, tool) in [(&alice, "read"), (&alice, "read"), (&bob, "read")] {
        assert_eq!(outcome(&proxy, "one", token, tool).await, "allowed");
    }
    let mut page = Editing::of("readers.json", &admin, OPERATOR).await;
    for part in [
        "grant bob on one, grant carol on two",
        "two does not say what it offers",
    ] {
        assert!(
            page.page.text.contains(part),
            "no {part}: {}",
            page.page.text
        );
    }
    page.presses(&["rule", "default", "/tools/read"]).await;
    page.presses(&["rule", "allow", "/tools/write"]).await;
    page.presses(&["review"]).await;
    let told = "since the start: 1 calls, of which 1 would have been decided otherwise";
    assert!(page.page.text.contains(told), "{}", page.page.text);
    page.presses(&[]).await;
    page.saves().await;
    assert_eq!(outcome(&proxy, "one", &bob, "read").await, "(default deny)");
    assert_eq!(outcome(&proxy, "one", &bob, "write").await, "allowed");
    assert_eq!(outcome(&proxy, "one", &alice, "read").await, "allowed");
    // What is saved does not hold while something else does not load.
    let config = folder.text();
    folder.put(
        "gateway.toml",
        &config.replace("[servers.two]", "nonsense = 1\n[servers.two]"),
    );
    page.presses(&["rule", "deny", "/tools/write"]).await;
    assert_eq!(page.sends("save", &[], &[]).await, 303);
    let to = page.page.header("location").unwrap().to_owned();
    let said = page.browser.gets(&to).await.text;
    for part in ["Saved, but not taken over", "nonsense"] {
        assert!(said.contains(part), "no {part}: {said}");
    }
    assert_eq!(outcome(&proxy, "one", &bob, "write").await, "allowed");
    folder.put("gateway.toml", &config);
    assert_eq!(
        outcome(&proxy, "one", &bob, "write").await,
        "/tools/write/action"
    );
}

#[tokio::test]
async fn a_policy_that_is_a_part_of_the_program_is_shown_and_not_changed() {
    let mut command = command(&["--listen", "127.0.0.1:0"]);
    let mut demo = Proxy::spawn(&mut command).await;
    let (admin, token) = demo::console(&mut demo).await;
    let mut page = Editing::of("demo-policy.json", &admin, &token).await;
    for part in [
        "is a part of the program",
        "readonly",
        "download_execution_logs",
    ] {
        assert!(
            page.page.text.contains(part),
            "no {part}: {}",
            page.page.text
        );
    }
    assert!(!page.page.text.contains("Review and save"));
    for verb in ["edit", "save"] {
        assert_eq!(
            page.sends(verb, &[], &[("csrf", &page.csrf.clone())]).await,
            409
        );
        assert!(page.page.text.contains("Nothing was done"));
        page.page = page.browser.gets(&page.path).await;
    }
}
