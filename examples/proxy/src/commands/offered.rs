//! The tools of a server: from a file, or asked of the server.

use std::path::Path;

use mcp_policy::ListedTools;
use serde_json::Value;

use super::input;
use crate::{cli::CheckArgs, client, failure::Failure, secret::Secret, upstream::Target};

/// The largest file with a list of tools, as large as the library's largest answer.
const LARGEST: usize = 32 << 20;

/// The tools that `check` is to look at, if it is.
pub(super) async fn tools(args: &CheckArgs) -> Result<Option<Vec<Value>>, Failure> {
    let offering = &args.offering;
    if let Some(path) = &offering.tools {
        return from_file(path).map(Some).map_err(Failure::Start);
    }
    if let Some(url) = &offering.upstream {
        let headers = args.headers.iter().map(Secret::expose);
        let target = Target::new(url.expose(), headers).map_err(Failure::Usage)?;
        return client::ask_upstream(target)
            .await
            .map(Some)
            .map_err(Failure::Start);
    }
    if !offering.command.is_empty() {
        let tools = client::ask_command(&offering.command).await;
        return tools.map(Some).map_err(Failure::Start);
    }
    Ok(None)
}

/// What a call is judged by that is on such a server.
pub(super) fn listed(path: Option<&Path>) -> Result<ListedTools, Failure> {
    let tools = path.map(from_file).transpose().map_err(Failure::Input)?;
    Ok(ListedTools::of(&tools.unwrap_or_default()))
}

fn from_file(path: &Path) -> Result<Vec<Value>, String> {
    let text = input::read(path, LARGEST)?;
    let name = path.display();
    let value: Value =
        serde_json::from_str(&text).map_err(|error| format!("{name} is not JSON: {error}"))?;
    in_answer(value).ok_or_else(|| {
        format!(
            "there are no tools in {name}: expected what a server answers to `tools/list`, or an \
             object with a list `tools`"
        )
    })
}

/// The tools in the result of `tools/list`, or in the whole answer.
fn in_answer(mut value: Value) -> Option<Vec<Value>> {
    let tools = match value.get_mut("tools") {
        Some(tools) => tools.take(),
        None => value.get_mut("result")?.get_mut("tools")?.take(),
    };
    match tools {
        Value::Array(tools) => Some(tools),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tools_are_found_where_they_are() {
        let tools = json!([{ "name": "a" }]);
        for answer in [
            json!({ "tools": tools }),
            json!({ "tools": tools, "nextCursor": "2" }),
            json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } }),
        ] {
            assert_eq!(in_answer(answer).map(Value::Array), Some(tools.clone()));
        }
        for other in [
            json!(null),
            tools,
            json!({}),
            json!({ "tools": {} }),
            json!({ "result": 1 }),
        ] {
            assert_eq!(in_answer(other.clone()), None, "{other}");
        }
    }
}
