//! The `check` command: what is wrong or doubtful in a policy, and whether it
//! fits the tools of a server.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use mcp_policy::{Action, Decision, Diagnostic, ListedTools, LoadError, Policy};
use serde_json::{Value, json};

use super::{
    cases::word,
    offered,
    show::{count, print, print_json, shown, table},
};
use crate::{cli::CheckArgs, diagnostics, failure::Failure};

pub(crate) async fn run(args: &CheckArgs, json: bool) -> Result<ExitCode, Failure> {
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

fn show_errors(args: &CheckArgs, error: &LoadError, json: bool) {
    if json {
        print_json(&json!({ "ok": false, "diagnostics": diagnostics::json(error) }));
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

struct Said<'p> {
    name: &'p str,
    decision: Decision<'p>,
    is_conditional: bool,
}

impl<'p> Verdicts<'p> {
    fn of(policy: &'p Policy, tools: &'p [Value], listed: &ListedTools) -> Self {
        let names = || tools.iter().map(|tool| tool.get("name")?.as_str());
        let said = |name| {
            let call = Action::call_tool(name).with_tools(listed);
            Said {
                name,
                decision: policy.decide_name(&call),
                is_conditional: policy.is_conditional(&call),
            }
        };
        Self {
            tools: names().flatten().map(said).collect(),
            nameless: names().filter(Option::is_none).count(),
        }
    }
}

impl Said<'_> {
    fn outcome(&self) -> &'static str {
        if self.is_conditional {
            "conditions"
        } else {
            word(self.decision.outcome())
        }
    }

    fn as_row(&self) -> [String; 3] {
        let mut rule = shown(self.decision.rule());
        if let Some(shadow) = self.decision.shadow() {
            let (outcome, place) = (word(shadow.outcome()), shown(shadow.rule()));
            rule += &format!(" (without shadow: {outcome}, {place})");
        }
        [shown(self.name), self.outcome().to_owned(), rule]
    }

    fn as_json(&self) -> Value {
        let mut said = json!({
            "name": self.name, "outcome": self.outcome(), "rule": self.decision.rule(),
        });
        if let (Some(shadow), Some(members)) = (self.decision.shadow(), said.as_object_mut()) {
            members.insert("shadow".to_owned(), json!(shadow));
        }
        said
    }
}
