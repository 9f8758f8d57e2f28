//! Tools that send notifications before they answer, and one that ends its stream before it answers.

// Logging is on its way out of the protocol, and is still asked for.
#![expect(deprecated)]

use std::time::Duration;

use rmcp::model::{
    LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::{ErrorData, RoleServer, ServiceError};

use crate::content::{Outcome, text};

/// So that what is sent arrives as several pieces.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a client that was cut off is to wait before it comes back.
const COME_BACK_AFTER: Duration = Duration::from_millis(50);

/// By when it is back. rmcp forgets a stream with its answer, so whoever comes later than the answer gets nothing.
const IS_BACK_AFTER: Duration = Duration::from_millis(500);

/// More streams than a session of the suite ever opens.
const STREAMS: u64 = 16;

pub(crate) async fn progress(context: &RequestContext<RoleServer>) -> Outcome {
    let token = context.meta.get_progress_token();
    for percent in [0.0, 50.0, 100.0] {
        if let Some(token) = token.clone() {
            let progress = ProgressNotificationParam::new(token, percent).with_total(100.0);
            context.peer.notify_progress(progress).await.map_err(lost)?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(text("All of it is done.")?.into())
}

/// `level`: from which level on this session wants to hear.
pub(crate) async fn log(level: LoggingLevel, context: &RequestContext<RoleServer>) -> Outcome {
    let wanted = match context.protocol_version() {
        // Without sessions every request says for itself whether it wants to hear anything.
        Some(version) if version >= ProtocolVersion::V_2026_07_28 => context.meta.log_level(),
        _ => Some(level),
    };
    let heard = wanted.is_some_and(|least| least as u8 <= LoggingLevel::Info as u8);
    for line in [
        "Tool execution started",
        "Tool processing data",
        "Tool execution completed",
    ] {
        if heard {
            let message = LoggingMessageNotificationParam::new(LoggingLevel::Info, line.into());
            let sent = context.peer.notify_logging_message(message).await;
            sent.map_err(lost)?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(text("Everything has been logged.")?.into())
}

/// Ends the streams of the session that this call came in, and answers afterwards.
pub(crate) async fn cut_off(
    sessions: &LocalSessionManager,
    context: &RequestContext<RoleServer>,
) -> Outcome {
    let head = context.extensions.get::<http::request::Parts>();
    let session = head.and_then(|head| head.headers.get("mcp-session-id")?.to_str().ok());
    if let Some(session) = session {
        let session = sessions.sessions.read().await.get(session).cloned();
        // rmcp does not say which stream a call came on. They count from 0, and only the one of this call is open.
        for stream in 0..STREAMS {
            if let Some(session) = &session {
                let _ = session
                    .close_sse_stream(stream, Some(COME_BACK_AFTER))
                    .await;
            }
        }
    }
    tokio::time::sleep(IS_BACK_AFTER).await;
    Ok(text("This is the answer to the call that was cut off.")?.into())
}

fn lost(error: ServiceError) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}
