//! What prompts come to.

use rmcp::ErrorData;
use rmcp::model::{GetPromptRequestParams, GetPromptResponse, GetPromptResult};
use serde_json::{Value, json};

use crate::content::{PNG, argument, wire};
use crate::rounds::{Round, ask, form};

pub(crate) fn get(
    get: &GetPromptRequestParams,
    round: &Round<'_>,
) -> Result<GetPromptResponse, ErrorData> {
    let argument = |name| argument(get.arguments.as_ref(), name);
    match get.name.as_str() {
        "test_simple_prompt" => said(&[words("This is a simple prompt for testing.")]),
        "test_prompt_with_arguments" => {
            let (first, second) = (argument("arg1"), argument("arg2"));
            let text = format!("Prompt with arguments: arg1='{first}', arg2='{second}'");
            said(&[words(&text)])
        }
        "test_prompt_with_embedded_resource" => {
            let resource = json!({
                "uri": argument("resourceUri"),
                "mimeType": "text/plain",
                "text": "Embedded resource content for testing.",
            });
            said(&[
                json!({ "type": "resource", "resource": resource }),
                words("Please process the embedded resource above."),
            ])
        }
        "test_prompt_with_image" => said(&[
            json!({ "type": "image", "data": PNG, "mimeType": "image/png" }),
            words("Please analyze the image above."),
        ]),
        "test_input_required_result_prompt" => {
            match round.words("user_context", "/content/context") {
                Some(context) => said(&[words(&format!("The context is {context}."))]),
                None => {
                    let question = form("What context should the prompt use?", "context", "string");
                    Ok(ask(json!({ "user_context": question }))?.into())
                }
            }
        }
        other => Err(ErrorData::invalid_params(
            format!("Unknown prompt: {other}"),
            None,
        )),
    }
}

fn words(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// A prompt in which the user says all of this.
fn said(content: &[Value]) -> Result<GetPromptResponse, ErrorData> {
    let messages: Vec<_> = content
        .iter()
        .map(|content| json!({ "role": "user", "content": content }))
        .collect();
    let result: GetPromptResult = wire(json!({ "resultType": "complete", "messages": messages }))?;
    Ok(result.into())
}
