//! The keys that seal what clients bring back when a call takes several rounds.

use std::{env, ffi::OsString, fs, path::Path};

use mcp_policy::RequestStateKeys;

use crate::{environment::KEY, failure::Failure};

/// Those in the file, or else in the environment; `None` if they are in neither.
pub(crate) fn read(file: Option<&Path>) -> Result<Option<RequestStateKeys>, Failure> {
    let (text, whence) = match (file, env::var_os(KEY)) {
        (Some(file), _) => {
            let text = fs::read_to_string(file).map_err(|error| {
                Failure::start(format!(
                    "cannot read the key file {}: {error}",
                    file.display()
                ))
            })?;
            (text, "the key file")
        }
        (None, Some(text)) => (into_text(text)?, KEY),
        (None, None) => return Ok(None),
    };
    match text.trim().parse() {
        Ok(keys) => Ok(Some(keys)),
        // What was typed may be part of a key.
        Err(error) => Err(Failure::usage(format!(
            "{whence} holds no keys: {error}. `openssl rand -hex 32` makes one"
        ))),
    }
}

fn into_text(text: OsString) -> Result<String, Failure> {
    text.into_string().map_err(|_| {
        Failure::usage(format!(
            "{KEY} is no text: `openssl rand -hex 32` makes what it has to be"
        ))
    })
}
