//! What tools answer that need nothing but their arguments, and how an answer is made.

use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, CallToolResult, JsonObject};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a tool comes to.
pub(crate) type Outcome = Result<CallToolResponse, ErrorData>;

/// One red pixel.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";

/// Eight samples of silence.
const WAV: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==";

/// Something of the protocol from its JSON. What the fixture makes itself can be read, so an error is a bug of it.
pub(crate) fn wire<T: DeserializeOwned>(json: Value) -> Result<T, ErrorData> {
    serde_json::from_value(json).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// A result with these content blocks. rmcp takes `resultType` out again for whoever does not know it.
pub(crate) fn blocks(content: Value) -> Result<CallToolResult, ErrorData> {
    wire(json!({ "resultType": "complete", "content": content }))
}

pub(crate) fn text(text: impl Into<String>) -> Result<CallToolResult, ErrorData> {
    blocks(json!([{ "type": "text", "text": text.into() }]))
}

/// A result that tells the model what went wrong.
pub(crate) fn failure(reason: &str) -> Result<CallToolResult, ErrorData> {
    let mut result = text(reason)?;
    result.is_error = Some(true);
    Ok(result)
}

/// The string argument of this name; empty if there is none.
pub(crate) fn argument<'a>(arguments: Option<&'a JsonObject>, name: &str) -> &'a str {
    arguments
        .and_then(|arguments| arguments.get(name)?.as_str())
        .unwrap_or_default()
}

pub(crate) fn image() -> Outcome {
    let image = json!({ "type": "image", "data": PNG, "mimeType": "image/png" });
    Ok(blocks(json!([image]))?.into())
}

pub(crate) fn audio() -> Outcome {
    let audio = json!({ "type": "audio", "data": WAV, "mimeType": "audio/wav" });
    Ok(blocks(json!([audio]))?.into())
}

pub(crate) fn embedded_resource() -> Outcome {
    let resource = json!({
        "uri": "test://embedded-resource",
        "mimeType": "text/plain",
        "text": "This is an embedded resource content.",
    });
    Ok(blocks(json!([{ "type": "resource", "resource": resource }]))?.into())
}

pub(crate) fn mixed() -> Outcome {
    let resource = json!({
        "uri": "test://mixed-content-resource",
        "mimeType": "application/json",
        "text": json!({ "test": "data", "value": 123 }).to_string(),
    });
    let content = json!([
        { "type": "text", "text": "Multiple content types test:" },
        { "type": "image", "data": PNG, "mimeType": "image/png" },
        { "type": "resource", "resource": resource },
    ]);
    Ok(blocks(content)?.into())
}
