//! The tower side: reads requests, hands them to the engine, and passes on
//! what may pass.

mod answer;
mod batch;
mod budget;
mod calls;
mod candidate;
mod collect;
mod config;
mod encoding;
mod endpoints;
mod events;
mod exchange;
mod future;
mod held_streams;
mod identify;
mod incoming;
mod judged;
#[expect(
    clippy::module_inception,
    reason = "the file is named after what it holds"
)]
mod layer;
mod listeners;
mod not_sent;
mod permit;
mod request;
mod request_body;
mod response_body;
mod service;
mod tell;

pub use future::ResponseFuture;
pub use held_streams::{HeldBody, HeldFuture, HeldStreamsLayer, HeldStreamsService};
pub use identify::IdentifyCaller;
pub use layer::{Dangerous, PolicyLayer};
pub use not_sent::{MayStillRun, NotSent};
pub use permit::Permit;
pub use request_body::RequestBody;
pub use response_body::ResponseBody;
pub use service::PolicyService;
