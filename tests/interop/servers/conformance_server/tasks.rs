//! Tools whose calls become tasks, for clients that know the extension for it.

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, CreateTaskResult,
    JsonObject,
};
use rmcp::task_manager::{TaskContext, TaskExit, TaskFuture, TaskManager, TaskOptions};
use serde_json::{Value, json};

use crate::content::{Outcome, argument, failure, text, wire};
use crate::rounds::{Round, ask, form, user_name};

/// In milliseconds, for whoever polls.
const POLL_INTERVAL: u64 = 100;

/// Runs a call as a task if the client can follow one, or else answers it directly if the tool can do without one.
pub(crate) async fn run(
    call: CallToolRequestParams,
    tasks: &TaskManager,
    declared: bool,
) -> Outcome {
    let CallToolRequestParams {
        name, arguments, ..
    } = call;
    if !declared {
        return match name.as_ref() {
            "slow_compute" => Ok(compute(seconds(arguments.as_ref())).await?.into()),
            "protocol_error_job" => Err(broken()),
            _ => Err(task_needed()),
        };
    }
    Ok(match name.as_ref() {
        "slow_compute" => start(tasks, |task| Box::pin(slow_compute(arguments, task))),
        "failing_job" => start(tasks, |_| Box::pin(fail())),
        "protocol_error_job" => start(tasks, |_| Box::pin(async { Err(broken().into()) })),
        "confirm_delete" => start(tasks, |task| Box::pin(confirm_delete(arguments, task))),
        "multi_input" => start(tasks, |task| Box::pin(multi_input(task))),
        other => {
            return Err(ErrorData::internal_error(
                format!("{other} is no job"),
                None,
            ));
        }
    })
}

/// Asks first, and becomes a task when it has the answer.
pub(crate) fn ask_then_run(round: &Round<'_>, tasks: &TaskManager, declared: bool) -> Outcome {
    if !declared {
        return Err(task_needed());
    }
    let Some(name) = round.words("user_name", "/content/name") else {
        return Ok(ask(json!({ "user_name": user_name() }))?.into());
    };
    let greeting = format!("Hello, {name}!");
    Ok(start(tasks, |_| {
        Box::pin(async move { Ok(text(greeting)?) })
    }))
}

fn start(tasks: &TaskManager, job: impl FnOnce(TaskContext) -> TaskFuture) -> CallToolResponse {
    let options = TaskOptions::new().with_poll_interval_ms(POLL_INTERVAL);
    CreateTaskResult::new(tasks.spawn(options, job)).into()
}

fn task_needed() -> ErrorData {
    let tasks = ClientCapabilities::builder().enable_tasks().build();
    ErrorData::missing_required_client_capability(tasks)
}

fn broken() -> ErrorData {
    ErrorData::internal_error("This job always breaks.", None)
}

fn seconds(arguments: Option<&JsonObject>) -> Duration {
    let seconds = arguments.and_then(|arguments| arguments.get("seconds")?.as_f64());
    Duration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default()
}

async fn compute(duration: Duration) -> Result<CallToolResult, ErrorData> {
    tokio::time::sleep(duration).await;
    text(format!("Computed for {} s.", duration.as_secs_f64()))
}

async fn slow_compute(
    arguments: Option<JsonObject>,
    task: TaskContext,
) -> Result<CallToolResult, TaskExit> {
    tokio::select! {
        result = compute(seconds(arguments.as_ref())) => Ok(result?),
        () = task.cancelled() => Err(TaskExit::Cancelled),
    }
}

async fn fail() -> Result<CallToolResult, TaskExit> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(failure("The job has failed.")?)
}

async fn confirm_delete(
    arguments: Option<JsonObject>,
    task: TaskContext,
) -> Result<CallToolResult, TaskExit> {
    let file = argument(arguments.as_ref(), "filename").to_owned();
    let question = wire(form(&format!("Delete {file}?"), "confirm", "boolean"))?;
    let answer = task.request_input("confirmation", question).await?;
    let said = match answer.pointer("/content/confirm") {
        Some(Value::Bool(true)) => format!("{file} would be gone now."),
        _ => format!("{file} stays."),
    };
    Ok(text(said)?)
}

async fn multi_input(task: TaskContext) -> Result<CallToolResult, TaskExit> {
    let name = task.request_input("name", wire(user_name())?);
    let color = wire(form("What is your favorite color?", "color", "string"))?;
    let color = task.request_input("color", color);
    tokio::try_join!(name, color)?;
    Ok(text("Both questions are answered.")?)
}
