//! Files that a command is given besides the policy.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The text of a file, of which no more than `limit` bytes are read. The error
/// says what is wrong with the file.
pub(super) fn read(path: &Path, limit: usize) -> Result<String, String> {
    let name = path.display();
    let bytes =
        read_bounded(path, limit).map_err(|error| format!("cannot read {name}: {error}"))?;
    if bytes.len() > limit {
        return Err(format!("{name} is larger than {} MiB", limit >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("{name} is not JSON: byte {at} is not UTF-8")
    })
}

/// One byte more than the limit shows that there is more.
fn read_bounded(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}
