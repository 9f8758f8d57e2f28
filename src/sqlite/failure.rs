use crate::store::StoreError;

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The file: nothing else of the same transaction is done either.
    File(rusqlite::Error),
    /// This alone.
    Own(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Own(error)
    }
}

/// What concerns this task alone becomes its answer.
pub(crate) fn own<T>(result: Result<T, Failure>) -> rusqlite::Result<Result<T, StoreError>> {
    match result {
        Ok(answer) => Ok(Ok(answer)),
        Err(Failure::Own(error)) => Ok(Err(error)),
        Err(Failure::File(error)) => Err(error),
    }
}
