use std::fs;

use super::*;

const POLICY: &str = r#"{ "version": "1", "default": "deny" }"#;
const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Reads a document in a folder of its own, with a policy beside it.
fn load(text: &str) -> (Result<Config, Box<Unloadable>>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.json"), POLICY).unwrap();
    fs::write(
        folder.path().join("broken.json"),
        r#"{ "version": "1", "defualt": "deny" }"#,
    )
    .unwrap();
    fs::write(folder.path().join("secret"), "Bearer from-a-file\n").unwrap();
    let path = folder.path().join("gateway.toml");
    fs::write(&path, text).unwrap();
    (Config::load(&path), folder)
}

/// What is said of each problem, with its line.
fn problems(text: &str) -> Vec<(usize, String)> {
    let (config, _folder) = load(text);
    let found = config.unwrap_err().report.json();
    let found = found.as_array().unwrap().iter();
    let found = found.filter(|found| found["file"].as_str().unwrap().ends_with(".toml"));
    found
        .map(|found| {
            let line = usize::try_from(found["line"].as_u64().unwrap()).unwrap();
            (line, found["message"].as_str().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn a_document_says_everything() {
    let text = format!(
        r#"
listen = "127.0.0.1:1"
public_url = "https://gateway.example.com/x"
state = "sqlite:state.db"
audit = "sqlite:audit.db"
audit_keep = 7
[limits]
max_body_size = 2048
approval_wait = 3
[servers.kestra]
url = "http://127.0.0.1:8080/mcp"
headers.authorization = {{ file = "secret" }}
[servers.files]
command = ["./server", "--root", "/srv"]
policy = "policy.json"
env = {{ MODE = "read" }}
[[grants]]
label = "alice-laptop"
server = "kestra"
token = "{HASH}"
policy = "policy.json"
claims = {{ team = "ops", level = 3, groups = ["a"], nested = {{ x = true }} }}
"#
    );
    let (config, folder) = load(&text);
    let config = config.unwrap_or_else(|error| panic!("{}", error.report.text(false)));
    let base = folder.path();
    assert_eq!(config.lockdown, base.join("gateway.lockdown"));
    assert_eq!(config.audit, Some(Place::Sqlite(base.join("audit.db"))));
    assert_eq!(config.audit_keep, Some(7));
    assert!(matches!(&config.state, Some(State::File(path)) if *path == base.join("state.db")));
    assert_eq!(config.limits.max_body_size, Some(2_048));
    let Behind::Command(command) = &config.servers["files"].behind else {
        panic!("{config:?}");
    };
    assert_eq!(command.command[0], base.join("./server").into_os_string());
    let grant = &config.grants[0];
    assert_eq!(grant.token, token::TokenHash::of(b"abc"));
    let claims = serde_json::json!({
        "team": "ops", "level": 3, "groups": ["a"], "nested": { "x": true },
    });
    assert_eq!(serde_json::Value::from(grant.claims.clone()), claims);
    let files = ["gateway.toml", "secret", "policy.json"].map(|name| base.join(name));
    let mut seen: Vec<_> = config
        .files
        .iter()
        .map(|seen| seen.path().to_owned())
        .collect();
    seen.sort();
    let mut files = files.to_vec();
    files.sort();
    assert_eq!(seen, files);
    assert!(!format!("{config:?}").contains("from-a-file"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = format!(
        r#"listne = "127.0.0.1:1"
admin = "here"
allowed_hosts = ["a b"]
[limits]
max_body_size = 1
[servers.one]
url = "ftp://a"
[servers.two]
url = "http://a/mcp"
command = ["x"]
[servers.three]
url = "http://a/mcp"
headers = {{ "a b" = "x", host = "x", c = {{ env = "NO_SUCH_VARIABLE_1" }}, d = {{ file = "none" }}, e = 1 }}
[servers."f/g"]
command = []
[servers.open]
url = "http://a/mcp"
policy = "policy.json"
[[grants]]
label = "a"
server = "one"
token = "{HASH}"
[[grants]]
label = "a"
server = "none"
token = "{HASH}"
policy = "broken.json"
[[grants]]
server = "open"
token = "mcpp_secret"
policy = "absent.json"
"#
    );
    let expected = [
        (1, "this document has no field `listne`"),
        (2, "`admin` of this document has to be an address"),
        (3, "each of `allowed_hosts` has to be a host name"),
        (
            5,
            "`max_body_size` of `limits` has to be a number from 1024",
        ),
        (7, "`url` has to begin with http:// or https:// and a host"),
        (8, "the server `two` has both `url` and `command`"),
        (13, "the name is not the name of a header"),
        (13, "`host` cannot be set"),
        (13, "the environment has no variable `NO_SUCH_VARIABLE_1`"),
        (13, "there is no file"),
        (13, "`e` has to be a string, { env"),
        (14, "`f/g` cannot be the name of a server"),
        (15, "`command` names no program"),
        (
            18,
            "the server `open` has a grant, and a policy for everybody",
        ),
        (24, "another grant has the label `a`"),
        (25, "there is no server `none`"),
        (26, "another grant has this token"),
        (27, "does not load"),
        (28, "this grant has no `label`"),
        (30, "`token` has to be `sha256:`"),
        (31, "does not load"),
    ];
    let found = problems(&text);
    let shown = || format!("{found:#?}");
    assert_eq!(found.len(), expected.len(), "{}", shown());
    for ((line, message), (at, text)) in found.iter().zip(expected) {
        assert!(
            *line == at && message.contains(text),
            "{at}: {text}\n{}",
            shown()
        );
    }
    let (config, _folder) = load(&text);
    let text = config.unwrap_err().report.text(false);
    assert!(text.contains("did you mean `listen`?"), "{text}");
    assert!(text.contains("because of the 21 errors above"), "{text}");
    // What is wrong with the policies, too.
    assert!(text.contains("did you mean `default`?"), "{text}");
    assert!(!text.contains("mcpp_secret"), "{text}");
}

#[test]
fn what_may_be_secret_is_not_shown() {
    let secrets = r#"
state = "hunter2"
webhook = 1
unknown = "hunter2"
[servers.a]
url = "mailto:hunter2"
headers = { "a b" = "hunter2", "transfer-encoding" = """
hunter2""", x = 'hunter2' }
[servers.b]
command = ["", "hunter2"]
env = { "=" = "hunter2", file = "hunter2", env = "hunter2" }
[[grants]]
label = "a"
server = "b"
token = "hunter2"
claims = { a = "hunter2", policy = "hunter2" }
unknown = ["hunter2"]
"#;
    let (config, _folder) = load(secrets);
    let error = config.unwrap_err();
    for text in [error.report.text(false), error.report.json().to_string()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(error.report.text(false).contains("unknown = \"*******\""));
    // Nobody knows what in a line is secret that is no TOML.
    for broken in ["state = \"hunter2", "a = 1\nhunter2 =", "a = hunter2"] {
        let (config, _folder) = load(broken);
        let error = config.unwrap_err();
        for text in [error.report.text(false), error.report.json().to_string()] {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains("this is no TOML"), "{text}");
        }
    }
    let (config, _folder) = load("listen = \"127.0.0.1:1\"\n\nx = 1 2");
    let text = config.unwrap_err().report.text(false);
    assert!(text.contains("gateway.toml:3:"), "{text}");
}

#[test]
fn a_server_for_everybody_is_on_loopback_unless_that_is_said() {
    let open =
        "listen = \"0.0.0.0:1\"\n[servers.a]\nurl = \"http://a\"\npolicy = \"policy.json\"\n";
    let [(line, message)] = &problems(open)[..] else {
        panic!("one problem");
    };
    assert_eq!(*line, 1);
    assert!(
        message.contains("can be reached from other machines"),
        "{message}"
    );
    assert!(
        load(&format!("allow_unauthenticated = true\n{open}"))
            .0
            .is_ok()
    );
    let closed = open.replace("policy = \"policy.json\"\n", "");
    assert!(load(&closed).0.is_ok());
}

#[test]
fn a_token_stands_for_its_server_until_it_is_revoked() {
    let document = |rest: &str| {
        let text = format!(
            "wrong = 1\n[[grants]]\nlabel = \"a\"\nserver = \"x\"\ntoken = \"{HASH}\"\n{rest}"
        );
        load(&text).0.unwrap_err().standing.unwrap()
    };
    let expected = (token::TokenHash::of(b"abc"), "x".to_owned());
    assert!(document("").contains(&expected));
    assert!(document("revoked = false").contains(&expected));
    for gone in ["revoked = true", "revoked = 1", "revoked = \"no\""] {
        assert!(document(gone).is_empty(), "{gone}");
    }
    assert!(load("a = ").0.unwrap_err().standing.is_none());
}

/// Whoever copies it gets something that works.
#[test]
fn what_the_documentation_shows_loads() {
    let page = include_str!("../../../../src/docs/gateway.md");
    let shown = page.split("```toml\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for policy in ["operators.json", "readers.json"] {
        fs::write(folder.path().join(policy), POLICY).unwrap();
    }
    let seen = Seen::now(&folder.path().join("gateway.toml"));
    let config = Config::read(seen, shown, false);
    config.unwrap_or_else(|error| panic!("{}", error.report.text(false)));
}

/// Where somebody may have written them by mistake, too.
#[test]
fn no_line_that_is_shown_has_a_secret_in_it() {
    let text = r#"
admin = "operator:canary" # canary
allowed_hosts = ["a#b", # canary é
  "c d"]
[servers.a]
command = ["a"]
env = ["KEY=canary"]
[servers.b]
url = "http://a" # "canary" = """ canary
plicy = "canary#canary" # canary
headers = ["authorization: canary"]
[[grants]]
label = "a b # shown"
server = 1 # canary
"#;
    let (config, _folder) = load(text);
    let error = config.unwrap_err();
    for said in [
        error.report.text(false),
        error.report.json().to_string(),
        format!("{error:?}"),
    ] {
        assert!(!said.contains("canary"), "{said}");
    }
    let said = error.report.text(false);
    for shown in ["\"a#b\"", "a b # shown", "[servers.b]", "`plicy`"] {
        assert!(
            error.report.shown.contains(shown) || said.contains(shown),
            "{shown} in {said}"
        );
    }
}

#[test]
fn no_more_problems_are_shown_than_somebody_reads() {
    let text: String = (0..5_000).map(|index| format!("a{index} = 0\n")).collect();
    let found = problems(&text);
    assert_eq!(found.len(), 101);
    assert_eq!(found[100].1, "there are 4901 more problems after this");
}
