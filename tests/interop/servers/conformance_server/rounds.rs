//! Tools that answer a call with questions and are called again with the answers, as 2026-07-28 has it.

use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, GetPromptRequestParams, InputRequiredResult, InputResponses,
    RequestStateCodec,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};

use crate::client::declares;
use crate::content::{Outcome, text, wire};

/// What came with one of the calls: the answers to the questions of the call before, and the state that it gave out.
pub(crate) struct Round<'a> {
    answers: Option<&'a InputResponses>,
    state: Option<&'a str>,
    seal: &'a RequestStateCodec,
}

impl<'a> Round<'a> {
    pub(crate) fn of_tool(call: &'a CallToolRequestParams, seal: &'a RequestStateCodec) -> Self {
        Self {
            answers: call.input_responses.as_ref(),
            state: call.request_state.as_deref(),
            seal,
        }
    }

    pub(crate) fn of_prompt(get: &'a GetPromptRequestParams, seal: &'a RequestStateCodec) -> Self {
        Self {
            answers: get.input_responses.as_ref(),
            state: get.request_state.as_deref(),
            seal,
        }
    }

    /// What the answer to a question has at a place; nothing if the client answered something else, or not at all.
    fn answer(&self, question: &str, place: &str) -> Option<&'a Value> {
        self.answers?.get(question)?.pointer(place)
    }

    pub(crate) fn words(&self, question: &str, place: &str) -> Option<&'a str> {
        self.answer(question, place)?.as_str()
    }

    /// The state that came back; an error if it is not one that was given out.
    fn state(&self) -> Result<Option<String>, ErrorData> {
        let Some(state) = self.state else {
            return Ok(None);
        };
        let refused = || ErrorData::invalid_params("requestState is not as it was given out", None);
        let state = self.seal.open(state).map_err(|_| refused())?;
        String::from_utf8(state).map(Some).map_err(|_| refused())
    }

    fn ask_with_state(&self, questions: Value, state: &str) -> Outcome {
        let mut asked = ask(questions)?;
        asked.request_state = Some(self.seal.seal(state.as_bytes()));
        Ok(asked.into())
    }
}

/// An answer that is these questions.
pub(crate) fn ask(questions: Value) -> Result<InputRequiredResult, ErrorData> {
    wire(json!({ "resultType": "input_required", "inputRequests": questions }))
}

/// A form with one field that has to be filled in.
pub(crate) fn form(message: &str, field: &str, kind: &str) -> Value {
    json!({
        "method": "elicitation/create",
        "params": {
            "message": message,
            "requestedSchema": {
                "type": "object",
                "properties": { field: { "type": kind } },
                "required": [field],
            },
        },
    })
}

fn sampling(prompt: &str) -> Value {
    json!({
        "method": "sampling/createMessage",
        "params": {
            "messages": [{ "role": "user", "content": { "type": "text", "text": prompt } }],
            "maxTokens": 100,
        },
    })
}

fn roots() -> Value {
    json!({ "method": "roots/list", "params": {} })
}

pub(crate) fn user_name() -> Value {
    form("What is your name?", "name", "string")
}

pub(crate) fn elicitation(round: &Round<'_>) -> Outcome {
    match round.words("user_name", "/content/name") {
        Some(name) => Ok(text(format!("Hello, {name}!"))?.into()),
        None => Ok(ask(json!({ "user_name": user_name() }))?.into()),
    }
}

pub(crate) fn model(round: &Round<'_>) -> Outcome {
    match round.words("capital_question", "/content/text") {
        Some(capital) => Ok(text(capital)?.into()),
        None => {
            let question = sampling("What is the capital of France?");
            Ok(ask(json!({ "capital_question": question }))?.into())
        }
    }
}

pub(crate) fn list_roots(round: &Round<'_>) -> Outcome {
    match round.answer("client_roots", "/roots") {
        Some(given) => Ok(text(format!("The client's roots are {given}"))?.into()),
        None => Ok(ask(json!({ "client_roots": roots() }))?.into()),
    }
}

pub(crate) fn confirm_with_state(round: &Round<'_>) -> Outcome {
    let state = round.state()?;
    match (state.as_deref(), round.answer("confirm", "/content/ok")) {
        (Some("confirm"), Some(Value::Bool(true))) => Ok(text("state-ok")?.into()),
        _ => {
            let question = form("Please confirm", "ok", "boolean");
            round.ask_with_state(json!({ "confirm": question }), "confirm")
        }
    }
}

pub(crate) fn three_at_once(round: &Round<'_>) -> Outcome {
    let state = round.state()?;
    let name = round.words("user_name", "/content/name");
    let greeting = round.words("greeting", "/content/text");
    let given = round.answer("client_roots", "/roots");
    match (state.as_deref(), name, greeting, given) {
        (Some("three"), Some(name), Some(greeting), Some(given)) => {
            Ok(text(format!("{greeting}, {name}! Your roots are {given}"))?.into())
        }
        _ => round.ask_with_state(
            json!({
                "user_name": user_name(),
                "greeting": sampling("Generate a greeting"),
                "client_roots": roots(),
            }),
            "three",
        ),
    }
}

pub(crate) fn one_after_another(round: &Round<'_>) -> Outcome {
    let state = round.state()?;
    let name = round.words("step1", "/content/name");
    let color = round.words("step2", "/content/color");
    match (state.as_deref(), name, color) {
        (Some("step2"), _, Some(color)) => Ok(text(format!("{color} it is."))?.into()),
        (Some("step1"), Some(_), _) => {
            let question = form("Step 2: What is your favorite color?", "color", "string");
            round.ask_with_state(json!({ "step2": question }), "step2")
        }
        _ => {
            let question = form("Step 1: What is your name?", "name", "string");
            round.ask_with_state(json!({ "step1": question }), "step1")
        }
    }
}

/// Asks for what this client says that it can answer, and for nothing else.
pub(crate) fn what_the_client_can(
    round: &Round<'_>,
    context: &RequestContext<RoleServer>,
) -> Outcome {
    let mut questions = serde_json::Map::new();
    for (capability, question) in [
        ("elicitation", user_name()),
        ("sampling", sampling("What is the capital of France?")),
        ("roots", roots()),
    ] {
        if declares(context, capability) {
            questions.insert(capability.to_owned(), question);
        }
    }
    let answered = round
        .answers
        .is_some_and(|answers| questions.keys().all(|key| answers.contains_key(key)));
    if questions.is_empty() || answered {
        return Ok(text("There is nothing more to ask.")?.into());
    }
    Ok(ask(questions.into())?.into())
}
