//! The `limits` commands: what is counted where a proxy keeps it, and how to
//! forget it.

use std::process::ExitCode;

use mcp_policy::{LimitFilter, LimitUsage};
use serde_json::{Value, json};

use super::show::{print, print_json, table};
use crate::{
    cli::{LimitsCommand, Meant},
    failure::Failure,
    names::{count, shown},
    state::{MeantBudgets, State, order},
};

/// More is not shown.
const MOST_SHOWN: usize = 10_000;

pub(crate) async fn run(command: &LimitsCommand, json: bool) -> Result<ExitCode, Failure> {
    match command {
        LimitsCommand::List(args) => list(&args.meant, json).await?,
        LimitsCommand::Reset(args) => {
            let filter = filter(&args.meant);
            if filter == LimitFilter::default() && !args.all {
                return Err(Failure::usage(
                    "say what is to be forgotten, such as `--caller ID`, or `--all`",
                ));
            }
            State::parse(&args.meant.state)?.reset(&filter).await?;
            match json {
                true => print_json(&json!({ "ok": true })),
                false => print("forgotten; what is under way stays counted until it ends"),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(meant: &Meant, json: bool) -> Result<(), Failure> {
    let state = State::parse(&meant.state)?;
    let mut found = state.usage(&filter(meant), MOST_SHOWN + 1).await?;
    let has_more = found.len() > MOST_SHOWN;
    found.truncate(MOST_SHOWN);
    found.sort_by(|one, other| order(one).cmp(&order(other)));
    if json {
        let limits: Vec<_> = found.iter().map(as_json).collect();
        print_json(&json!({ "limits": limits, "more": has_more }));
        return Ok(());
    }
    let rows: Vec<_> = found.iter().map(as_row).collect();
    let headings = [
        "SERVER", "CALLER", "SESSION", "RULE", "USED", "MAX", "FREE IN",
    ];
    let mut text = match rows.as_slice() {
        [] => "nothing is counted\n".to_owned(),
        rows => table(headings, rows),
    };
    if has_more {
        let shown = count(MOST_SHOWN, "budget");
        text +=
            &format!("and more than these {shown}: say which with --server, --caller or --rule\n");
    }
    print(&text);
    Ok(())
}

fn filter(meant: &Meant) -> LimitFilter {
    MeantBudgets {
        server: meant.server.as_deref(),
        policy: meant.policy.as_deref(),
        rule: meant.rule.as_deref(),
        caller: meant.caller.as_deref(),
    }
    .as_filter()
}

fn as_json(usage: &LimitUsage) -> Value {
    let free_in = usage.free_in().map(|time| time.as_millis());
    json!({
        "server": usage.server(),
        "policy": usage.policy(),
        "rule": usage.place(),
        "caller": usage.caller(),
        "session": usage.session(),
        "used": usage.used(),
        "max": usage.max(),
        "freeInMs": free_in.and_then(|time| u64::try_from(time).ok()),
    })
}

/// What is everybody's has no caller, and what no session has, no session.
fn as_row(usage: &LimitUsage) -> [String; 7] {
    let or_none = |name: Option<&str>| name.map_or_else(|| "-".to_owned(), shown);
    // A name that is not told apart by its rule alone is told with it.
    let rule = match usage.policy() {
        "" => shown(usage.place()),
        policy => format!("{} ({})", shown(usage.place()), shown(policy)),
    };
    [
        shown(usage.server()),
        or_none(usage.caller()),
        or_none(usage.session()),
        rule,
        usage.used().to_string(),
        usage.max().to_string(),
        usage.free_in().map_or_else(
            || "-".to_owned(),
            |time| format!("{} s", time.as_secs_f64().ceil()),
        ),
    ]
}
