//! The `approvals` commands: what waits at a running proxy, and what is decided about
//! it.

use std::{env, net::SocketAddr, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use mcp_policy::ApprovalId;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::timeout;

use super::show::{print, table};
use crate::{
    admin::PATH,
    cli::{ApprovalsCommand, DecideArgs},
    environment::{TOKEN, TOKENS},
    failure::Failure,
    json_text::{indented, one_line, visible},
    names::{cut, shown},
    upstream::Causes,
};

/// How long the proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of an answer.
const LONGEST_ANSWER: usize = 256 << 20;

/// Characters of the arguments that a line has room for.
const SHOWN: usize = 100;

pub(crate) async fn run(command: &ApprovalsCommand, json: bool) -> Result<ExitCode, Failure> {
    match command {
        ApprovalsCommand::List(args) => {
            let query = args.state.as_ref().map(|state| format!("?state={state}"));
            let path = format!("{PATH}{}", query.unwrap_or_default());
            let answer = ask(args.admin, Method::GET, &path, None).await?;
            if json {
                return Ok(print_answer(&answer));
            }
            let found: Vec<Waiting> = read(&answer)?;
            print(&as_table(&found));
        }
        ApprovalsCommand::Show(args) => {
            let path = format!("{PATH}/{}", args.id);
            let answer = ask(args.admin, Method::GET, &path, None).await?;
            if json {
                return Ok(print_answer(&answer));
            }
            print(&read::<Waiting>(&answer)?.in_full());
        }
        ApprovalsCommand::Approve(args) => decide(args, "approve", json).await?,
        ApprovalsCommand::Deny(args) => decide(args, "deny", json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn decide(args: &DecideArgs, verb: &str, json: bool) -> Result<(), Failure> {
    let path = format!("{PATH}/{}/{verb}", args.id);
    let body = args.note.as_ref().map(|note| json!({ "note": note }));
    let body = body.map(|body| body.to_string());
    let answer = ask(args.admin, Method::POST, &path, body).await?;
    if json {
        print_answer(&answer);
        return Ok(());
    }
    let decided: Waiting = read(&answer)?;
    print(&decided.decision(args.id));
    Ok(())
}

/// It comes from the proxy as one line that cannot fool anybody; that is not left to
/// the proxy alone.
fn print_answer(answer: &str) -> ExitCode {
    print(&one_line(answer));
    ExitCode::SUCCESS
}

/// What the proxy answers.
async fn ask(
    admin: SocketAddr,
    method: Method,
    path: &str,
    body: Option<String>,
) -> Result<String, Failure> {
    let token = env::var(TOKEN).map_err(|_| {
        Failure::usage(format!(
            "put your token into {TOKEN}: the one that the proxy printed when it started, or that \
             it was given for you"
        ))
    })?;
    let mut credential = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| Failure::usage(format!("{TOKEN} holds what no token can hold")))?;
    credential.set_sensitive(true);
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{admin}{path}"))
        .header(AUTHORIZATION, credential)
        .body(Full::<Bytes>::from(body.unwrap_or_default()))
        .map_err(|error| Failure::start(format!("the request cannot be made: {error}")))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answering = async {
        let response = client.request(request).await.map_err(|error| {
            Failure::start(format!(
                "no answer from {admin}: {}. Is the proxy running, with its approvals at this \
                 address? Say another with --admin",
                Causes(&error)
            ))
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect();
        let body = body
            .await
            .map_err(|error| Failure::start(format!("{admin} broke off: {error}")))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        match status.is_success() {
            true => Ok(text),
            false => Err(refused(admin, status, &text)),
        }
    };
    timeout(PATIENCE, answering).await.unwrap_or_else(|_| {
        let seconds = PATIENCE.as_secs();
        Err(Failure::start(format!(
            "no answer from {admin} in {seconds} s: say another address with --admin, if it is not \
             that of the proxy's approvals"
        )))
    })
}

/// What the proxy says why not.
fn refused(admin: SocketAddr, status: StatusCode, text: &str) -> Failure {
    #[derive(Deserialize)]
    struct Said {
        error: String,
    }

    match serde_json::from_str::<Said>(text) {
        // What it says to that is for those who send it by themselves.
        Ok(_) if status == StatusCode::UNAUTHORIZED => Failure::start(format!(
            "the proxy at {admin} does not know the token in {TOKEN}: it prints one when it starts, \
             unless its own {TOKENS} names operators and theirs"
        )),
        Ok(Said { error }) => Failure::start(visible(&error)),
        Err(_) => Failure::start(format!(
            "what answers with status {} there is not the admin address of a proxy: say another with \
             --admin",
            status.as_u16()
        )),
    }
}

fn read<'a, T: Deserialize<'a>>(answer: &'a str) -> Result<T, Failure> {
    serde_json::from_str(answer).map_err(|_| {
        Failure::start(
            "what answers there is not the admin address of a proxy: say another with --admin",
        )
    })
}

/// A request, as far as a person looks at it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    id: String,
    state: String,
    server: String,
    caller: String,
    method: String,
    tool: String,
    arguments: Option<Box<RawValue>>,
    others: Option<Box<RawValue>>,
    reason: Option<String>,
    created_at: String,
    expires_at: String,
    decided_by: Option<String>,
    note: Option<String>,
}

impl Waiting {
    fn row(&self) -> [String; 7] {
        let arguments = self
            .arguments
            .as_ref()
            .map(|arguments| cut(&one_line(arguments.get()), SHOWN));
        [
            shown(&self.id),
            shown(&self.state),
            shown(&self.server),
            shown(&self.caller),
            shown(&self.tool),
            shown(&self.expires_at),
            arguments.unwrap_or_else(|| "-".to_owned()),
        ]
    }

    fn in_full(&self) -> String {
        let rows = [
            ("id", Some(&self.id)),
            ("state", Some(&self.state)),
            ("server", Some(&self.server)),
            ("caller", Some(&self.caller)),
            ("method", Some(&self.method)),
            ("name", Some(&self.tool)),
            ("reason", self.reason.as_ref()),
            ("asked", Some(&self.created_at)),
            ("expires", Some(&self.expires_at)),
            ("decided by", self.decided_by.as_ref()),
            ("note", self.note.as_ref()),
        ];
        let mut text = String::new();
        for (heading, value) in rows {
            if let Some(value) = value {
                text += &format!("{heading:12}{}\n", visible(value));
            }
        }
        if let Some(arguments) = &self.arguments {
            text += &format!("arguments\n{}\n", indented(arguments.get()));
        }
        if let Some(others) = &self.others {
            text += &format!("and besides\n{}\n", indented(others.get()));
        }
        text
    }

    fn decision(&self, id: ApprovalId) -> String {
        let (state, until) = (shown(&self.state), shown(&self.expires_at));
        match self.state.as_str() {
            "approved" => {
                format!("{state} {id}: exactly this call may be made once, until {until}")
            }
            _ => format!("{state} {id}: the same call is refused until {until}"),
        }
    }
}

fn as_table(found: &[Waiting]) -> String {
    let rows: Vec<_> = found.iter().map(Waiting::row).collect();
    let headings = [
        "ID",
        "STATE",
        "SERVER",
        "CALLER",
        "TOOL",
        "UNTIL",
        "ARGUMENTS",
    ];
    match rows.as_slice() {
        [] => "nothing waits\n".to_owned(),
        rows => table(headings, rows),
    }
}
