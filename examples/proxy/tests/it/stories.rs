//! The policies of `examples/policies`, each with its cases through the built
//! proxy: what a server is asked to run, and what the refused call is told.

use std::path::{Path, PathBuf};

use http_body_util::Full;
use mcp_policy::Policy;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::fake::Upstream;
use crate::support::{Answer, Proxy, send};

/// One call, and what the policy makes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    call: Call,
    expect: Verdict,
    rule: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: String,
    /// As it is written, because `1e3` is not what `1000` is.
    arguments: Box<RawValue>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Allow,
    Deny,
    Hide,
}

impl Case {
    fn message(&self) -> String {
        let name = Value::from(self.call.name.as_str());
        let arguments = self.call.arguments.get();
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{name},"arguments":{arguments}}}}}"#
        )
    }

    /// What is wrong with the answer and with what the server was asked to run.
    fn fault(&self, answer: &Answer, executed: &[String]) -> Option<String> {
        let expected = match self.expect {
            Verdict::Allow => vec![self.message()],
            Verdict::Deny | Verdict::Hide => Vec::new(),
        };
        if executed != expected {
            return Some(format!("the server ran {executed:?}"));
        }
        let result = &answer.json()["result"];
        if self.expect == Verdict::Allow {
            return (result["isError"] == true).then(|| "it was refused".to_owned());
        }
        // What is hidden is answered like what nobody named.
        let rule = self.rule.as_deref().unwrap_or("(default deny)");
        let named = format!("[rule {rule}]");
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        let is_right = result["isError"] == true && text.contains(&named);
        (!is_right).then(|| format!("no refusal with {named}: {text}"))
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

/// Every policy there is.
fn policies() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths
}

fn cases(story: &str) -> Vec<Case> {
    let path = folder().join(format!("cases/{story}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Sends a call, and gives the answer and what reached the server before it.
async fn call(proxy: &Proxy, server: &Upstream, message: String) -> (Answer, Vec<String>) {
    let request = proxy.request().body(Full::from(message)).unwrap();
    let mut answer = std::pin::pin!(send(request));
    let mut executed = Vec::new();
    loop {
        tokio::select! {
            biased;
            asked = server.answers() => executed.push(asked.body),
            answer = &mut answer => return (answer, executed),
        }
    }
}

async fn hold(story: &str) {
    let server = Upstream::bind().await;
    let upstream = format!("http://{}/mcp", server.address());
    let policy = folder().join(format!("{story}.json"));
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        &upstream,
        "--policy",
        policy.to_str().unwrap(),
    ];
    let proxy = Proxy::start(&args, "info").await;
    let cases = cases(story);
    let mut faults = Vec::new();
    for case in &cases {
        let (answer, executed) = call(&proxy, &server, case.message()).await;
        let fault = case.fault(&answer, &executed);
        faults.extend(fault.map(|fault| format!("{}: {fault}", case.name)));
    }
    assert!(faults.is_empty(), "{story}:\n{}", faults.join("\n"));
    // The call that ends each list would come behind whatever was let through
    // too late to be seen with its own case.
    let last = cases.last().map(|case| case.expect);
    assert_eq!(last, Some(Verdict::Allow));
    let refused = cases.iter().filter(|case| case.expect != Verdict::Allow);
    assert!(refused.count() > 0);
}

macro_rules! stories {
    ($($name:ident $story:literal)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                hold($story).await;
            }
        )*

        const STORIES: &[&str] = &[$($story),*];
    };
}

stories! {
    nothing_is_pushed_to_main_or_by_force "force-push"
    flows_start_in_dev_and_staging_only "namespaces"
    refunds_have_a_cap "refunds"
    nothing_is_carried_out_by_fetching "web-fetch"
    readmes_do_not_run_commands "shell"
    secrets_are_not_read "secret-paths"
    mail_has_no_copies_that_nobody_sees "mail"
    tools_that_do_several_things_do_some "kestra-actions"
    dispatchers_are_no_way_around "dispatcher"
    each_question_has_a_cap_on_tokens "token-spend"
    a_baseline_is_for_every_tool "organisation-baseline"
}

#[test]
fn every_policy_has_a_story_and_loads_without_a_warning() {
    let mut stories = STORIES.to_vec();
    stories.sort_unstable();
    let paths = policies();
    let names = paths.iter().map(|path| path.file_stem().unwrap());
    assert!(names.eq(stories), "{paths:?}");
    for path in &paths {
        let policy = Policy::from_path(path).unwrap();
        assert!(policy.warnings().is_empty(), "{:?}", policy.warnings());
        let document = policy.document();
        let schema = folder().join(document.schema.as_deref().unwrap());
        assert!(schema.is_file(), "{}", schema.display());
        assert_eq!(path.file_stem().unwrap(), document.name.as_deref().unwrap());
        assert!(document.description.is_some(), "{path:?}");
    }
}
