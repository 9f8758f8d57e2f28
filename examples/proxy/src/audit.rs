//! Where decisions are recorded, if that was asked for.

use std::path::Path;

use mcp_policy::JsonLines;

use crate::failure::Failure;

/// Opens the file, or says why it cannot be had.
pub(crate) fn open(path: Option<&Path>) -> Result<Option<JsonLines>, Failure> {
    let Some(path) = path else {
        return Ok(None);
    };
    JsonLines::append_to(path).map(Some).map_err(|error| {
        Failure::start(format!(
            "cannot append to the audit file {}: {error}",
            path.display()
        ))
    })
}
