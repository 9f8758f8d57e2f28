//! Tools that ask the client while they run, which was allowed up to 2025-11-25. Later the answer to the call is the
//! question: see `rounds`.

use rmcp::model::{JsonObject, ServerRequest};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use crate::content::{Outcome, argument, failure, text, wire};

/// Whether the client says that it can do this, by its name on the wire.
pub(crate) fn declares(context: &RequestContext<RoleServer>, capability: &str) -> bool {
    let declared = serde_json::to_value(context.client_capabilities());
    declared.is_ok_and(|declared| declared.get(capability).is_some())
}

pub(crate) async fn sample(
    arguments: Option<&JsonObject>,
    context: &RequestContext<RoleServer>,
) -> Outcome {
    if !declares(context, "sampling") {
        return Ok(failure("The client has no model to ask.")?.into());
    }
    let prompt = argument(arguments, "prompt");
    let question = json!({
        "method": "sampling/createMessage",
        "params": {
            "messages": [{ "role": "user", "content": { "type": "text", "text": prompt } }],
            "maxTokens": 100,
        },
    });
    let answer = ask(question, context).await?;
    let said = answer.pointer("/content/text").and_then(Value::as_str);
    Ok(text(format!("LLM response: {}", said.unwrap_or_default()))?.into())
}

pub(crate) async fn ask_user(
    arguments: Option<&JsonObject>,
    context: &RequestContext<RoleServer>,
) -> Outcome {
    let schema = json!({
        "type": "object",
        "properties": {
            "username": { "type": "string", "description": "User's response" },
            "email": { "type": "string", "description": "User's email address" },
        },
        "required": ["username", "email"],
    });
    let answer = elicit(
        argument(arguments, "message"),
        schema,
        "User response",
        context,
    );
    answer.await
}

pub(crate) async fn ask_with_defaults(context: &RequestContext<RoleServer>) -> Outcome {
    let status = ["active", "inactive", "pending"];
    let schema = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "default": "John Doe" },
            "age": { "type": "integer", "default": 30 },
            "score": { "type": "number", "default": 95.5 },
            "status": { "type": "string", "enum": status, "default": "active" },
            "verified": { "type": "boolean", "default": true },
        },
    });
    let message = "Is all of this right?";
    elicit(message, schema, "Elicitation completed", context).await
}

/// Every way in which a form can offer choices.
pub(crate) async fn ask_with_choices(context: &RequestContext<RoleServer>) -> Outcome {
    let options = ["option1", "option2", "option3"];
    let titled = |noun: &str| {
        json!([
            { "const": "value1", "title": format!("First {noun}") },
            { "const": "value2", "title": format!("Second {noun}") },
            { "const": "value3", "title": format!("Third {noun}") },
        ])
    };
    let schema = json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": options },
            "titledSingle": { "type": "string", "oneOf": titled("Option") },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": { "type": "array", "items": { "type": "string", "enum": options } },
            "titledMulti": { "type": "array", "items": { "anyOf": titled("Choice") } },
        },
    });
    elicit("Which ones?", schema, "Elicitation completed", context).await
}

async fn elicit(
    message: &str,
    schema: Value,
    prefix: &str,
    context: &RequestContext<RoleServer>,
) -> Outcome {
    if !declares(context, "elicitation") {
        return Ok(failure("The client has no user to ask.")?.into());
    }
    let question = json!({
        "method": "elicitation/create",
        "params": { "message": message, "requestedSchema": schema },
    });
    let answer = ask(question, context).await?;
    let action = answer.get("action").and_then(Value::as_str);
    let content = answer.get("content").unwrap_or(&Value::Null);
    let said = format!(
        "{prefix}: action={}, content={content}",
        action.unwrap_or_default()
    );
    Ok(text(said)?.into())
}

/// Sends a request to the client, on the stream of the call that is being answered.
async fn ask(question: Value, context: &RequestContext<RoleServer>) -> Result<Value, ErrorData> {
    let question: ServerRequest = wire(question)?;
    let failed = |error: String| ErrorData::internal_error(error, None);
    let answer = context.peer.send_request(question).await;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    serde_json::to_value(answer).map_err(|error| failed(error.to_string()))
}
