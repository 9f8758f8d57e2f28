//! What the arguments say that a tool takes.

use super::category::RiskCategory;
use super::definition::{Parameter, ToolDefinition};
use super::words;

/// Arguments of these names choose what is done.
const SELECTORS: &[&str] = &[
    "action",
    "actiontype",
    "cmd",
    "command",
    "method",
    "op",
    "operation",
    "operationtype",
    "subcommand",
    "verb",
];

/// Arguments of these names are run, whatever the tool is called.
const RUN: &[&str] = &[
    "cmd",
    "command",
    "commandline",
    "commands",
    "cypher",
    "jscode",
    "javascript",
    "pythoncode",
    "script",
    "shell",
    "shellcommand",
    "sql",
    "sqlquery",
    "sqlstatement",
];

/// Arguments of these names are run if what is said of them says so.
const RUN_PERHAPS: &[&str] = &[
    "code",
    "expression",
    "function",
    "program",
    "query",
    "queries",
    "source",
    "statement",
    "statements",
];

/// How it is said of a text that it is run.
const CODE: &[&str] = &[
    "bash",
    "cypher",
    "ddl",
    "javascript",
    "lambda",
    "powershell",
    "python",
    "shell",
    "snippet",
    "sql",
    "typescript",
];

/// How the statements of a database begin.
const STATEMENTS: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE TABLE",
    "ALTER TABLE",
];

/// Whether this argument chooses what is done.
pub(super) fn is_selector(parameter: &Parameter) -> bool {
    let name = words::of_name(&parameter.name).concat();
    let one = name.strip_suffix('s').unwrap_or(&name);
    let selects = SELECTORS.contains(&name.as_str()) || SELECTORS.contains(&one);
    selects && !parameter.values.is_empty()
}

/// The argument that is run, and the words that say so. `runs` is whether the tool
/// is said to run something.
pub(super) fn that_is_run(
    tool: &ToolDefinition,
    runs: bool,
) -> Option<(&Parameter, Option<String>)> {
    let texts = tool
        .parameters
        .iter()
        .filter(|parameter| parameter.values.is_empty() && !parameter.is_no_text);
    texts.into_iter().find_map(|parameter| {
        let name = words::of_name(&parameter.name).concat();
        if RUN.contains(&name.as_str()) {
            return Some((parameter, None));
        }
        if !RUN_PERHAPS.contains(&name.as_str()) {
            return None;
        }
        let is_query = name.starts_with("quer") || name.starts_with("statement");
        let told = code_word(&parameter.description)
            .or_else(|| is_query.then(|| statement(&tool.description)).flatten())
            .or_else(|| is_query.then(|| sql_in(&tool.name)).flatten());
        if let Some(told) = told {
            return Some((parameter, Some(told)));
        }
        (runs && !is_query).then_some((parameter, None))
    })
}

fn code_word(text: &str) -> Option<String> {
    let words = words::of_name(text);
    let found = words.iter().find(|word| CODE.contains(&word.as_str()));
    found.cloned().or_else(|| statement(text))
}

fn sql_in(name: &str) -> Option<String> {
    let words = words::of_name(name);
    words
        .into_iter()
        .find(|word| word == "sql" || word == "cypher")
}

fn statement(text: &str) -> Option<String> {
    let found = STATEMENTS
        .iter()
        .find(|statement| text.contains(**statement));
    let found = found.map(|statement| (*statement).to_owned());
    found.or_else(|| {
        let words = words::of_name(text);
        words.into_iter().find(|word| word == "sql")
    })
}

/// The argument that says how much money, if another says whose or of which kind.
pub(super) fn amount(tool: &ToolDefinition) -> Option<&Parameter> {
    const AMOUNTS: [&str; 4] = ["amount", "amountcents", "amountminor", "totalamount"];
    const PARTIES: [&str; 14] = [
        "account",
        "accountid",
        "beneficiary",
        "card",
        "currency",
        "destination",
        "iban",
        "invoiceid",
        "payee",
        "payment",
        "paymentid",
        "paymentintent",
        "recipient",
        "wallet",
    ];
    let name = |parameter: &Parameter| words::of_name(&parameter.name).concat();
    let has_party = tool
        .parameters
        .iter()
        .any(|parameter| PARTIES.contains(&name(parameter).as_str()));
    let amount = tool
        .parameters
        .iter()
        .find(|parameter| AMOUNTS.contains(&name(parameter).as_str()));
    amount.filter(|_| has_party)
}

/// The argument that says where a file is put.
pub(super) fn saved_to(tool: &ToolDefinition) -> Option<&Parameter> {
    const PLACES: [&str; 6] = [
        "destinationpath",
        "outputdir",
        "outputpath",
        "savedir",
        "savepath",
        "targetpath",
    ];
    let is_place = |parameter: &&Parameter| {
        let name = words::of_name(&parameter.name).concat();
        PLACES.contains(&name.as_str())
    };
    tool.parameters.iter().find(is_place)
}

/// What a tool does at least that takes an argument which is run.
pub(super) const RUNS: RiskCategory = RiskCategory::Execute;
