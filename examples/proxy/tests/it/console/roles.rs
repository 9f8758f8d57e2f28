//! Who may not: everything that changes something, and everybody who has no power to.

use std::{collections::BTreeSet, fs};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::log::{ALICE, BOB, CAROL, governed, operators};
use crate::{
    approvals::admin,
    gateway::{Folder, Recording, outcome, post, two},
    pages::Browser,
    support::{Answer, Proxy, call, send, within},
};

/// A path to which something is sent, `POLICY` and `APPROVAL` being those that there are;
/// what is sent, so that it would be done; and whether a policy manager may do it.
type Way = (&'static str, &'static [(&'static str, &'static str)], bool);

/// Everything that changes something.
const WAYS: [Way; 11] = [
    ("/tools/ask", &[], true),
    (
        "/policies/POLICY/edit",
        &[("text", DENY), ("do", "[\"review\"]")],
        true,
    ),
    (
        "/policies/POLICY/save",
        &[("text", DENY), ("base", "BASE")],
        true,
    ),
    ("/approvals/APPROVAL/approve", &[("note", "")], false),
    ("/approvals/APPROVAL/deny", &[("note", "")], false),
    (
        "/limits/reset",
        &[("what", "[null,null,null,null]"), ("sure", "yes")],
        false,
    ),
    (
        "/grants/add",
        &[("label", "bea"), ("server", "one"), ("file", "all.json")],
        false,
    ),
    (
        "/grants/rotate",
        &[("label", "ada"), ("sure", "yes")],
        false,
    ),
    (
        "/grants/lockdown",
        &[("what", "everything"), ("lock", "on"), ("sure", "yes")],
        false,
    ),
    (
        "/grants/revoke",
        &[("label", "ada"), ("sure", "yes")],
        false,
    ),
    ("/logout", &[], true),
];

/// To which is sent by whoever is nobody yet.
const LOGIN: &str = "/login";

const POLICY: &str = r#"{ "version": "1", "default": "allow", "tools": {
  "pay": { "require_approval": { "reason": "Money is gone for good." } },
  "once": { "limits": [ { "counter": "calls", "window": "day", "max": 1 } ] }
} }"#;
const DENY: &str = r#"{ "version": "1", "default": "deny" }"#;

/// In the arguments of the call that waits.
const CANARY: &str = "canary-in-argument";

/// A gateway with a grant, at which something is counted and something waits.
struct Governed {
    folder: Folder,
    proxy: Proxy,
    admin: String,
    /// The token of the grant.
    ada: String,
}

impl Governed {
    async fn start() -> Self {
        let (first, second) = (Recording::start().await, Recording::start().await);
        let folder = Folder::new(&governed(&two(&first, &second)));
        folder.put("asks.json", POLICY);
        let ada = folder.grant("ada", "one", &["--policy", "asks.json"]).await;
        let proxy = folder.serve_with(operators).await;
        let admin = admin(&proxy.log());
        assert_eq!(outcome(&proxy, "one", &ada, "once").await, "allowed");
        Self {
            folder,
            proxy,
            admin,
            ada,
        }
    }

    async fn signed_in(&self, token: &str) -> Browser<'_> {
        Browser::signed_in_at(&self.admin, token).await
    }

    /// Lets a call wait until this is done.
    async fn while_one_waits(&self, done: impl AsyncFnOnce(Names)) -> Answer {
        let mut pays = call(1, "pay");
        pays["params"]["arguments"] = json!({ "card": CANARY });
        let done = async {
            let names = self.names().await;
            done(names).await;
        };
        let pays = post(&self.proxy, "one", &self.ada, &pays);
        let (answer, ()) = tokio::join!(pays, done);
        answer
    }

    /// What an operator who calls without a browser is answered.
    async fn program(&self, method: &str, path: &str, token: &str, origin: &str) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.admin));
        for (name, value) in [
            ("authorization", format!("Bearer {token}")),
            ("origin", origin.to_owned()),
        ] {
            if !value.ends_with(' ') && !value.is_empty() {
                request = request.header(name, value);
            }
        }
        send(request.body(Full::default()).unwrap()).await
    }

    async fn waiting(&self) -> Value {
        let path = "/approvals?state=pending";
        self.program("GET", path, ALICE, "").await.json()
    }

    /// What things are called now.
    async fn names(&self) -> Names {
        let approval = within("a call that waits", async {
            loop {
                if let Some(id) = self.waiting().await[0]["id"].as_str() {
                    break id.to_owned();
                }
            }
        })
        .await;
        let alice = self.signed_in(ALICE).await;
        let policy = after(&alice.gets("/policies").await.text, "href=\"/policies/");
        let page = alice.gets(&format!("/policies/{policy}")).await.text;
        Names {
            policy,
            approval,
            base: after(&page, "name=\"base\" value=\""),
        }
    }

    /// Everything that somebody could have changed.
    async fn state(&self) -> String {
        let alice = self.signed_in(ALICE).await;
        let limits = alice.gets("/limits").await.text;
        let policy = fs::read_to_string(self.folder.path("asks.json")).unwrap();
        let waits = self.waiting().await[0]["state"].to_string();
        let files = fs::read_dir(self.folder.path("")).unwrap().count();
        format!(
            "{}{policy}{waits}{files}{}",
            self.folder.text(),
            limits.contains("1 of 1")
        )
    }
}

/// What things are called that are in the way of something.
struct Names {
    policy: String,
    approval: String,
    base: String,
}

impl Names {
    fn path(&self, path: &str) -> String {
        path.replace("POLICY", &self.policy)
            .replace("APPROVAL", &self.approval)
    }

    fn without(&self, path: &str) -> String {
        path.replace(&self.policy, "POLICY")
            .replace(&self.approval, "APPROVAL")
    }

    fn fields<'a>(
        &'a self,
        fields: &[(&'a str, &'a str)],
        csrf: &'a str,
    ) -> Vec<(&'a str, &'a str)> {
        let fields = fields.iter().map(|(name, value)| match *value {
            "BASE" => (*name, &*self.base),
            value => (*name, value),
        });
        fields.chain([("csrf", csrf)]).collect()
    }
}

/// What stands between this and the next quote.
fn after(page: &str, before: &str) -> String {
    let (_, rest) = page.split_once(before).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Where the forms of a page lead that change something.
fn leads_to(page: &str) -> BTreeSet<String> {
    let forms = page.split("<form ").skip(1);
    let forms = forms.filter(|form| form.split('>').next().unwrap().contains("method=\"post\""));
    let forms = forms.map(|form| form.split("</form>").next().unwrap());
    let forms = forms.flat_map(|form| form.split("action=\"").skip(1));
    forms
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn nobody_changes_anything_without_the_power_to() {
    let governed = Governed::start().await;
    let (alice, bob) = (
        governed.signed_in(ALICE).await,
        governed.signed_in(BOB).await,
    );
    let (carol, nobody) = (
        governed.signed_in(CAROL).await,
        Browser::at(&governed.admin),
    );
    let csrf = [&alice, &bob, &carol].map(|browser| browser.csrf());
    let [csrf, bobs, carols] = futures_util::future::join_all(csrf)
        .await
        .try_into()
        .unwrap();
    governed
        .while_one_waits(async |names| {
            let before = governed.state().await;
            let here = alice.url("");
            for (path, fields, is_of_policies) in WAYS {
                let path = &names.path(path);
                let is_of_anybody = path == "/logout";
                for (who, browser, csrf, origin, status) in [
                    ("nobody", &nobody, &csrf, &*here, 401),
                    ("a viewer", &carol, &carols, &here, 403),
                    ("a policy manager", &bob, &bobs, &here, 403),
                    ("a wrong secret", &alice, &bobs, &here, 403),
                    ("no secret", &alice, &String::new(), &here, 403),
                    ("no origin", &alice, &csrf, "", 403),
                    ("no site", &alice, &csrf, "null", 403),
                    ("another site", &alice, &csrf, "https://evil.example", 403),
                    ("another port", &alice, &csrf, "http://127.0.0.1:1", 403),
                ] {
                    let is_theirs = match who {
                        "a viewer" => is_of_anybody,
                        "a policy manager" => is_of_policies,
                        _ => false,
                    };
                    if is_theirs {
                        continue;
                    }
                    let (mut request, form) = browser.form(path, &names.fields(fields, csrf));
                    if !origin.is_empty() {
                        request = request.header("origin", origin);
                    }
                    let refused = send(request.body(Full::from(form)).unwrap()).await;
                    assert_eq!(refused.status(), status, "{who} {path}: {}", refused.text);
                    assert!(!refused.text.contains(CANARY), "{who} {path}");
                    assert!(!refused.text.contains("mcpp_"), "{who} {path}");
                }
                let got = alice.gets(path).await.status();
                assert!([404, 405].contains(&got), "{got} {path}");
            }
            assert_eq!(governed.state().await, before);
            // Each of them is done for an admin, so that it is not for its form that it was refused.
            for (path, fields, _) in WAYS {
                let path = &names.path(path);
                let fields = names.fields(fields, &csrf);
                let done = alice.posts(path, &fields).await;
                match &**path {
                    // The other decision was made a moment ago.
                    path if path.ends_with("/deny") => assert_eq!(done.status(), 409),
                    _ => assert!(done.status() < 400, "{path}: {}", done.text),
                }
            }
        })
        .await;
    assert_eq!(alice.gets("/").await.status(), 401);
}

#[tokio::test]
async fn programs_decide_with_the_token_of_an_admin_alone() {
    let governed = Governed::start().await;
    let evil = "https://evil.example";
    let answer = governed
        .while_one_waits(async |names| {
            let alice = governed.signed_in(ALICE).await;
            let before = governed.state().await;
            for path in ["/approvals/APPROVAL/approve", "/approvals/APPROVAL/deny"] {
                let path = names.path(path);
                for (token, origin, status) in [
                    ("", "", 401),
                    ("wrong-token-0123456789", "", 401),
                    (CAROL, "", 403),
                    (BOB, "", 403),
                    (ALICE, evil, 403),
                    (ALICE, "null", 403),
                ] {
                    let refused = governed.program("POST", &path, token, origin).await;
                    assert_eq!(refused.status(), status, "{token} {origin} {path}");
                    assert!(!refused.text.contains(CANARY), "{}", refused.text);
                }
                // A session is none for programs.
                let asks = alice.asks(Request::post(alice.url(&path)));
                let asks = asks.header("accept", "application/json");
                let refused = send(asks.body(Full::default()).unwrap()).await;
                assert!([401, 403].contains(&refused.status()), "{}", refused.text);
            }
            for (token, status) in [("", 401), (CAROL, 403), (BOB, 403)] {
                for path in ["/approvals", "/approvals/APPROVAL"] {
                    let refused = governed.program("GET", &names.path(path), token, "").await;
                    assert_eq!(refused.status(), status, "{token} {path}");
                    assert!(!refused.text.contains(CANARY), "{}", refused.text);
                }
            }
            assert_eq!(governed.state().await, before);
            let path = names.path("/approvals/APPROVAL/approve");
            assert_eq!(
                governed.program("POST", &path, ALICE, "").await.status(),
                200
            );
        })
        .await;
    assert!(
        answer.json()["result"]["isError"].is_null(),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn who_does_not_decide_sees_no_arguments_and_nobody_sees_a_token() {
    let governed = Governed::start().await;
    let answer = governed
        .while_one_waits(async |names| {
            let (_, hash) = governed
                .folder
                .text()
                .split_once("sha256:")
                .map(|(one, hash)| (one.len(), hash.split('"').next().unwrap().to_owned()))
                .unwrap();
            for (token, decides) in [(ALICE, true), (BOB, false), (CAROL, false)] {
                let browser = governed.signed_in(token).await;
                let log = browser.gets("/log").await.text;
                let decision = format!("/log/{}", after(&log, "href=\"/log/"));
                for path in [
                    "/",
                    "/tools",
                    "/policies",
                    "/policies/POLICY",
                    "/approvals",
                    "/approvals/APPROVAL",
                    "/log",
                    &decision,
                    "/limits",
                    "/grants",
                ] {
                    let page = browser.gets(&names.path(path)).await;
                    assert_eq!(page.status(), 200, "{path}");
                    let shows = decides && path.starts_with("/approvals");
                    assert_eq!(page.text.contains(CANARY), shows, "{path}: {}", page.text);
                    for secret in ["mcpp_", ALICE, BOB, CAROL, &hash, "canary-in-url"] {
                        assert!(!page.text.contains(secret), "{secret} on {path}");
                    }
                }
            }
            let alice = governed.signed_in(ALICE).await;
            let path = names.path("/approvals/APPROVAL/deny");
            let csrf = alice.csrf().await;
            assert_eq!(alice.posts(&path, &[("csrf", &csrf)]).await.status(), 303);
            assert!(!alice.gets("/approvals").await.text.contains(CANARY));
        })
        .await;
    assert_eq!(answer.json()["result"]["isError"], true, "{}", answer.text);
}

/// What a page offers to change is in the table above, and nothing else is.
#[tokio::test]
async fn every_form_leads_where_it_is_known_who_may_not() {
    let governed = Governed::start().await;
    governed
        .while_one_waits(async |names| {
            let alice = governed.signed_in(ALICE).await;
            let csrf = alice.csrf().await;
            let mut found = leads_to(&Browser::at(&governed.admin).gets("/").await.text);
            for path in [
                "/",
                "/tools",
                "/policies",
                "/policies/POLICY",
                "/approvals",
                "/approvals/APPROVAL",
                "/log",
                "/limits",
                "/grants",
            ] {
                found.extend(leads_to(&alice.gets(&names.path(path)).await.text));
            }
            let path = names.path("/policies/POLICY/edit");
            let review = [("csrf", &*csrf), ("text", DENY), ("do", "[\"review\"]")];
            found.extend(leads_to(&alice.posts(&path, &review).await.text));
            let found: BTreeSet<String> = found.iter().map(|path| names.without(path)).collect();
            let known = WAYS.iter().map(|(path, ..)| *path).chain([LOGIN]);
            assert_eq!(found, known.map(str::to_owned).collect());
            let deny = names.path("/approvals/APPROVAL/deny");
            assert_eq!(alice.posts(&deny, &[("csrf", &csrf)]).await.status(), 303);
        })
        .await;
}
