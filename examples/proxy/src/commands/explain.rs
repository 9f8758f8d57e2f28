//! The `explain` command: what a policy says of one call, and why.

use std::process::ExitCode;

use mcp_policy::Caller;
use serde_json::json;

use super::{
    call::{Call, caller_of},
    load, offered,
    show::{print, print_json},
};
use crate::{cli::ExplainArgs, failure::Failure, members};

pub(crate) fn run(args: &ExplainArgs, json: bool) -> Result<ExitCode, Failure> {
    let policy = load(&args.policy)?;
    let usage = |error| Failure::usage(format!("`--call`: {error}"));
    let raw = members::parse(args.call.expose()).map_err(usage)?;
    let call = Call::read(raw).map_err(usage)?;
    let caller = args
        .caller
        .as_ref()
        .map_or_else(Caller::anonymous, |id| caller_of(id));
    let tools = offered::listed(args.tools.as_deref())?;
    let action = call.action().map_err(usage)?;
    let explanation = policy.explain(&action.by(&caller).with_tools(&tools));
    if json {
        print_json(&json!(explanation));
    } else {
        print(&explanation.to_string());
    }
    Ok(ExitCode::SUCCESS)
}
