//! The policy: what a document says, checked, compiled and asked.
//!
//! Nothing here knows HTTP. A document is read ([`load`]), its meaning is
//! checked and brought into a form that answers fast ([`compile`]), and
//! [`Policy::decide`] is a pure function over that.

mod action;
mod approval;
mod check;
mod compile;
mod condition;
mod decide;
mod decision;
mod diagnostic;
mod document;
mod error;
mod explain;
mod index;
mod limits;
mod listed;
mod load;
mod offered;
mod pattern;
mod pins;
mod quota;
mod recommend;
mod risk;
mod rule;
#[cfg(test)]
mod schema;
mod section;
mod template;
mod tie;
mod unwrap;
mod uri;
mod views;
mod warn;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

pub use self::action::{Action, InvalidArguments};
pub use self::approval::ApprovalDemand;
pub use self::condition::{Operator, Truth};
pub use self::decision::{Decision, Outcome};
#[cfg(feature = "metrics")]
pub(crate) use self::diagnostic::unescape;
pub use self::diagnostic::{Diagnostic, Severity};
pub use self::document::{
    Approver, Check, Condition, DefaultAction, DefinitionError, Instructions, Limit, LimitWindow,
    MaxConcurrent, MethodRule, Mode, OnDrift, Pins, PolicyDocument, RateLimit, RequireApproval,
    Rule, RuleAction, Unwrap, WindowReset,
};
pub use self::error::LoadError;
pub use self::explain::{ConditionStep, Explanation, ExplanationStep};
pub(crate) use self::limits::MOST_CHARGES;
pub use self::listed::ListedTools;
pub(crate) use self::listed::{ListEntry, ListedTool, Wants, text_digest};
pub(crate) use self::pins::{DefinitionDigest, Definitions};
pub(crate) use self::quota::Spending;
pub use self::quota::{Amount, CalendarUnit, LimitScope, OnStoreError, Period, Quota, QuotaId};
pub use self::recommend::recommend;
pub(crate) use self::risk::SeenRisk;
pub(crate) use self::section::is_ordinary;
pub(crate) use self::views::Views;

use self::compile::Rules;
use self::condition::Regexes;
use self::diagnostic::{Problem, Problems};
use self::section::View;
use crate::digest::sha256;
use crate::json::tree;

/// A policy: decides what callers may do on one MCP server.
///
/// Made from a JSON document, which is checked whole before anything is
/// decided by it. Cloning is cheap; clones share what was compiled.
///
/// ```
/// use mcp_policy::{Action, Policy};
///
/// let policy: Policy = r#"{
///     "version": "1",
///     "default": "deny",
///     "tools": { "download_execution_logs": {} }
/// }"#.parse()?;
///
/// assert!(policy.decide(&Action::call_tool("download_execution_logs")).is_allowed());
/// assert!(!policy.decide(&Action::call_tool("delete_flow")).is_allowed());
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[derive(Clone)]
pub struct Policy {
    inner: Arc<Inner>,
    is_shut: bool,
}

struct Inner {
    document: PolicyDocument,
    text: Box<str>,
    digest: String,
    /// What is enforced.
    rules: Rules,
    /// What would be if nothing were in shadow, where something is.
    written: Option<Rules>,
    warnings: Vec<Diagnostic>,
    /// Found out when somebody asks.
    views: OnceLock<Views>,
}

impl Policy {
    /// Loads a policy from a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or what it holds is not a policy document; the
    /// error then has every problem, each with its place.
    ///
    /// ```no_run
    /// use mcp_policy::Policy;
    ///
    /// let policy = Policy::from_path("policy.json")?;
    /// for warning in policy.warnings() {
    ///     eprintln!("{warning}");
    /// }
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let bytes = read_bounded(path).map_err(|error| LoadError::io(path, error))?;
        load(&bytes).map_err(|error| error.of_file(path))
    }

    /// The same policy, for a time in which nothing is to go on between callers and the
    /// server: as for a caller without a policy, everything is refused but what keeps a
    /// session, lists are empty, and what the server says unasked is dropped, its
    /// instructions included. What the policy allows otherwise is refused as well; where
    /// it denies something, its reason is told. A call that was made before is answered.
    /// Streams stay open, and carry everything again under another policy.
    ///
    /// ```
    /// use mcp_policy::{Caller, FromServer, MessageGuard, Policy};
    ///
    /// # futures::executor::block_on(async {
    /// let locked: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
    /// let connection = MessageGuard::new(locked.shut()).connect(Caller::local());
    /// let said = br#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    /// assert_eq!(connection.from_server(said).await, FromServer::Drop);
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// # })?;
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    #[must_use]
    pub fn shut(self) -> Self {
        Self {
            is_shut: true,
            ..self
        }
    }

    /// Whether nothing goes on, because it was [shut](Self::shut).
    pub fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// Whether everything that this decides, the other decides as well.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.is_shut == other.is_shut && self.digest() == other.digest()
    }

    /// The document that the policy was made from.
    pub fn document(&self) -> &PolicyDocument {
        &self.inner.document
    }

    /// The text that the policy was made from, into which the spans of
    /// diagnostics point. Of a document that was built in Rust it is its
    /// [JSON text](PolicyDocument::to_json_string).
    pub fn source_text(&self) -> &str {
        &self.inner.text
    }

    /// Tells the document from all others: `sha256:` and the hexadecimal SHA-256
    /// of its text. Of one that was built in Rust it is that of its
    /// [JSON text](PolicyDocument::to_json_string). It does not tell a policy that is
    /// [shut](Self::is_shut) from one that is not.
    ///
    /// ```
    /// use mcp_policy::Policy;
    ///
    /// let policy: Policy = r#"{"version":"1","default":"deny"}"#.parse()?;
    /// let digest = "sha256:aeaf06700126854b9186966605af6bd20042ae56be7753f94096266dbcf2d4f3";
    /// assert_eq!(policy.digest(), digest);
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// What [`digest`](Self::digest) says of the policy with this text, if it can be
    /// loaded: tells whether a file still has the text that is in force.
    ///
    /// ```
    /// use mcp_policy::Policy;
    ///
    /// let text = r#"{"version":"1","default":"deny"}"#;
    /// assert_eq!(Policy::digest_of(text), text.parse::<Policy>()?.digest());
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    pub fn digest_of(text: &str) -> String {
        format!("sha256:{}", sha256(text.as_bytes()))
    }

    /// What is probably not meant in the document, though it can be loaded.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.inner.warnings
    }

    /// What happens to whatever the document does not name.
    pub(crate) fn default_action(&self) -> DefaultAction {
        self.inner.rules.default
    }

    /// Whether any tool could be left out of a list.
    pub(crate) fn can_hide_tools(&self) -> bool {
        let rules = &self.inner.rules;
        let pins_hide = || rules.pins.as_ref().is_some_and(|pins| pins.hides());
        let risk_hides = || rules.risk.as_ref().is_some_and(|risk| risk.hides_any());
        self.hides_by_default()
            || rules.tools.hides_any()
            || risk_hides()
            || self.pins_tools() && pins_hide()
    }

    /// Whether it depends on what the server says of a tool what is said of it, also
    /// where that is only recorded.
    pub(crate) fn judges_by_risk(&self) -> bool {
        let written = self.inner.written.as_ref();
        self.inner.rules.risk.is_some() || written.is_some_and(|rules| rules.risk.is_some())
    }

    /// Whether tools have to be what somebody has approved.
    pub(crate) fn pins_tools(&self) -> bool {
        let pins = self.inner.rules.pins.as_ref();
        pins.is_some_and(|pins| pins.pins_tools())
    }

    /// Whether a digest of this tool's definition is in the document.
    pub(crate) fn pins(&self, tool: &str) -> bool {
        let pins = self.inner.rules.pins.as_ref();
        pins.is_some_and(|pins| pins.pins(tool))
    }

    /// Whether it depends on the instructions of the server if they are shown.
    pub(crate) fn judges_instructions(&self) -> bool {
        let pins = self.inner.rules.pins.as_ref();
        self.strips_instructions() || pins.is_some_and(|pins| pins.pins_instructions())
    }

    /// Whether these instructions of the server are shown: the text of a JSON value.
    pub(crate) fn shows_instructions(&self, text: &[u8]) -> bool {
        let pins = self.inner.rules.pins.as_ref();
        !self.strips_instructions() && pins.is_none_or(|pins| pins.shows_instructions(text))
    }

    /// Whether any prompt could be left out of a list.
    pub(crate) fn can_hide_prompts(&self) -> bool {
        self.hides_by_default() || self.inner.rules.prompts.hides_any()
    }

    /// Whether any resource or template could be left out of a list.
    pub(crate) fn can_hide_resources(&self) -> bool {
        self.hides_by_default() || self.inner.rules.resources.hides_any()
    }

    /// Whether the instructions of the server are taken out.
    fn strips_instructions(&self) -> bool {
        let document = &self.inner.document;
        document.instructions == Instructions::Strip && document.mode == Mode::Enforce
    }

    fn hides_by_default(&self) -> bool {
        self.default_action() == DefaultAction::Hide
    }
}

/// Which policy it is, and not what it says: that can be very long.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.document().name)
            .field("digest", &self.digest())
            .field("is_shut", &self.is_shut)
            .finish_non_exhaustive()
    }
}

impl FromStr for Policy {
    type Err = LoadError;

    /// Loads a policy from the text of its document. Every problem is reported
    /// at once.
    fn from_str(text: &str) -> Result<Self, LoadError> {
        load(text.as_bytes())
    }
}

impl TryFrom<PolicyDocument> for Policy {
    type Error = LoadError;

    /// Checks and compiles a document that was built in Rust.
    ///
    /// It is written as JSON and loaded like any other, so that it is held to
    /// the same rules; the places in an error are places in that text.
    fn try_from(document: PolicyDocument) -> Result<Self, LoadError> {
        load(document.to_json_string().as_bytes())
    }
}

/// Reads no more of a file than shows that it is too large.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = load::MAX_BYTES as u64 + 1;
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn load(bytes: &[u8]) -> Result<Policy, LoadError> {
    let mut problems = Problems::default();
    if bytes.len() > load::MAX_BYTES {
        problems.report(|| {
            let message = format!("the document is larger than {} bytes", load::MAX_BYTES);
            Problem::at_bytes(0..0, message).with_help("use patterns, such as `read_*`")
        });
        return Err(refuse(problems, None, None));
    }
    let text = String::from_utf8_lossy(bytes);
    let root = match tree::parse(bytes) {
        Ok(root) => root,
        Err(error) => {
            problems.report(|| load::syntax_problem(error, &text));
            return Err(refuse(problems, Some(&text), None));
        }
    };
    let document = load::read(&root, &mut problems);
    let mut regexes = Regexes::default();
    let mut compile =
        |view, problems: &mut _| Rules::compile(&document, view, &mut regexes, problems);
    let written = compile(View::Written, &mut problems);
    if !problems.is_empty() {
        return Err(refuse(problems, Some(&text), Some(&root)));
    }
    let (rules, written) = if document.has_shadow() {
        (compile(View::Enforced, &mut problems), Some(written))
    } else {
        (written, None)
    };
    // Rules that refuse never tie, until they are in shadow.
    if !problems.is_empty() {
        return Err(refuse(problems, Some(&text), Some(&root)));
    }
    let warnings = warn::warnings(&document, &rules).locate(Severity::Warning, &text, Some(&root));
    let inner = Arc::new(Inner {
        digest: format!("sha256:{}", sha256(bytes)),
        document,
        text: text.into(),
        rules,
        written,
        warnings,
        views: OnceLock::new(),
    });
    Ok(Policy {
        inner,
        is_shut: false,
    })
}

fn refuse(problems: Problems, text: Option<&str>, root: Option<&tree::Node>) -> LoadError {
    let omitted = problems.omitted();
    let diagnostics = problems.locate(Severity::Error, text.unwrap_or_default(), root);
    LoadError::document(text.map(str::to_owned), diagnostics, omitted)
}
