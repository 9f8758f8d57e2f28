//! Tower middleware that enforces a JSON policy on MCP servers.
#![forbid(unsafe_code)]

mod engine;
mod json;
mod layer;
mod mcp;
mod policy;

pub use layer::{
    Dangerous, Permit, PolicyLayer, PolicyService, RequestBody, ResponseBody, ResponseFuture,
};
pub use policy::{
    Action, Decision, DefaultAction, Diagnostic, LoadError, MethodRule, Outcome, Policy,
    PolicyDocument, Rule, RuleAction, Severity,
};
