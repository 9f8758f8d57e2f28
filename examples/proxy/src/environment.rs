//! The variables of the environment in which this program finds secrets.

/// The operators of `serve` with their tokens: a command line can be seen by others.
pub(crate) const TOKENS: &str = "MCP_POLICY_ADMIN_TOKENS";
/// The token of whoever types a command.
pub(crate) const TOKEN: &str = "MCP_POLICY_ADMIN_TOKEN";
/// Where it is kept what is counted, which can hold a password.
pub(crate) const STATE: &str = "MCP_POLICY_STATE";
/// The keys that seal what clients bring back.
pub(crate) const KEY: &str = "MCP_POLICY_KEY";
/// The secret by which the receiver of a webhook knows who sends.
pub(crate) const WEBHOOK_SECRET: &str = "MCP_POLICY_WEBHOOK_SECRET";

/// Everything that no server that is started has to know: whoever has one of these
/// decides what the server is asked for, reads what it is counted by, or speaks in the
/// name of this program.
pub(crate) const SECRETS: [&str; 7] = [
    TOKENS,
    TOKEN,
    STATE,
    KEY,
    WEBHOOK_SECRET,
    // What the collector of traces is shown. What is read of the rest of OTEL_… is no
    // secret.
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
];
