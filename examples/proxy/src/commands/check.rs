//! The `check` command: what is wrong or doubtful in a policy, and whether it
//! fits the tools of a server; or whether a configuration loads.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use mcp_policy::{Diagnostic, ListedTools, LoadError, Policy};
use serde_json::{Value, json};

use super::{
    offered,
    show::{print, print_json, table},
};
use crate::{
    cli::CheckArgs, config::Config, diagnostics, failure::Failure, names::count, verdicts::Said,
};

pub(crate) async fn run(args: &CheckArgs, json: bool) -> Result<ExitCode, Failure> {
    if args.policy.extension().is_some_and(|kind| kind == "toml") {
        return configuration(args, json);
    }
    let policy = match Policy::from_path(&args.policy) {
        Ok(policy) => policy,
        Err(error) => {
            show_errors(args, &error, json);
            return Ok(ExitCode::FAILURE);
        }
    };
    let offered = offered::tools(args).await?;
    let mut found = policy.warnings().to_vec();
    if let Some(tools) = &offered {
        found.extend(policy.check_tools(tools));
        found.sort_by_key(|warning| warning.span().start);
    }
    let fails = args.strict && !found.is_empty();
    let listed = ListedTools::of(offered.as_deref().unwrap_or_default());
    let verdicts = offered.as_deref();
    let verdicts = verdicts.map(|tools| Verdicts::of(&policy, tools, &listed));
    if json {
        print_json(&as_json(!fails, &found, verdicts.as_ref()));
    } else {
        print(&as_text(args, &policy, &found, verdicts.as_ref()));
    }
    Ok(if fails {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

/// Whether a configuration loads, and what is doubtful in its policies.
fn configuration(args: &CheckArgs, json: bool) -> Result<ExitCode, Failure> {
    if args.offering.is_any() {
        return Err(Failure::usage(
            "tools are compared with a policy: name that instead of the configuration",
        ));
    }
    let config = match Config::load(&args.policy) {
        Ok(config) => config,
        Err(error) => {
            if json {
                print_json(&json!({ "ok": false, "diagnostics": error.report.json() }));
            } else {
                print(
                    &error
                        .report
                        .text(diagnostics::colours(io::stdout().is_terminal())),
                );
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let colour = diagnostics::colours(io::stdout().is_terminal());
    let (mut text, mut found) = (String::new(), Vec::new());
    for (path, policy) in config.policies() {
        let warnings = policy.warnings();
        text += &diagnostics::warnings(path, policy, warnings, colour);
        found.extend(warnings.iter().map(|warning| {
            let mut warning = json!(warning);
            if let Some(members) = warning.as_object_mut() {
                members.insert("file".to_owned(), json!(path.display().to_string()));
            }
            warning
        }));
    }
    let fails = args.strict && !found.is_empty();
    if json {
        print_json(&json!({ "ok": !fails, "diagnostics": found }));
    } else {
        let path = args.policy.display();
        let servers = count(config.servers.len(), "server");
        let grants = count(config.grants.len(), "grant");
        text += &match found.len() {
            0 => format!("{path}: {servers} and {grants}, nothing found"),
            warnings => {
                let warnings = count(warnings, "warning");
                format!("{path}: {servers} and {grants}, {warnings}")
            }
        };
        print(&text);
    }
    Ok(match fails {
        true => ExitCode::from(2),
        false => ExitCode::SUCCESS,
    })
}

fn show_errors(args: &CheckArgs, error: &LoadError, json: bool) {
    if json {
        print_json(&json!({ "ok": false, "diagnostics": diagnostics::json(&args.policy, error) }));
    } else {
        let colour = diagnostics::colours(io::stdout().is_terminal());
        print(&diagnostics::text(&args.policy, error, colour));
    }
}

fn as_json(ok: bool, found: &[Diagnostic], verdicts: Option<&Verdicts<'_>>) -> Value {
    let mut answer = json!({ "ok": ok, "diagnostics": found });
    if let (Some(verdicts), Some(members)) = (verdicts, answer.as_object_mut()) {
        let tools = verdicts.tools.iter().map(Said::as_json).collect();
        members.insert("tools".to_owned(), Value::Array(tools));
        if verdicts.nameless > 0 {
            members.insert("nameless".to_owned(), json!(verdicts.nameless));
        }
    }
    answer
}

fn as_text(
    args: &CheckArgs,
    policy: &Policy,
    found: &[Diagnostic],
    verdicts: Option<&Verdicts<'_>>,
) -> String {
    let colour = diagnostics::colours(io::stdout().is_terminal());
    let mut text = diagnostics::warnings(&args.policy, policy, found, colour);
    if let Some(verdicts) = verdicts {
        let rows: Vec<_> = verdicts.tools.iter().map(Said::as_row).collect();
        text += &table(["TOOL", "VERDICT", "RULE"], &rows);
        if verdicts.nameless > 0 {
            let entries = count(verdicts.nameless, "entry without a name");
            text += &format!("and {entries}, which no client gets to see\n");
        }
        text.push('\n');
    }
    let path = args.policy.display();
    text + &match found.len() {
        0 => format!("{path}: nothing found"),
        warnings => format!("{path}: {}", count(warnings, "warning")),
    }
}

/// What the policy says of every tool that is offered.
struct Verdicts<'p> {
    tools: Vec<Said<'p>>,
    /// Entries of the list that have no name.
    nameless: usize,
}

impl<'p> Verdicts<'p> {
    fn of(policy: &'p Policy, tools: &'p [Value], listed: &ListedTools) -> Self {
        let names = || tools.iter().map(|tool| tool.get("name")?.as_str());
        Self {
            tools: names()
                .flatten()
                .map(|name| Said::of(policy, name, listed))
                .collect(),
            nameless: names().filter(Option::is_none).count(),
        }
    }
}
