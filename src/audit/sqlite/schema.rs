//! What is in the file. What is changed here needs another version.

use crate::sqlite::Purpose;

pub(super) const AUDIT: Purpose = Purpose {
    noun: "the audit file",
    // "mcpa"
    application: 0x6d63_7061,
    version: 1,
    schema: SCHEMA,
    another: "in which nothing is recorded yet",
};

const SCHEMA: &str = "
-- What was decided about messages, and what came of it. What can be asked for is in
-- columns; the whole records are beside them, as JSON.
CREATE TABLE message (
    -- In which order they were recorded. No number is given twice.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Of the decision.
    id BLOB NOT NULL UNIQUE,
    -- Microseconds since 1970.
    time INTEGER NOT NULL,
    server TEXT,
    caller TEXT,
    name TEXT,
    inner_name TEXT,
    verdict TEXT NOT NULL,
    rule TEXT NOT NULL,
    decision TEXT NOT NULL,
    -- Not until it has ended.
    outcome TEXT
) STRICT;
CREATE INDEX message_by_time ON message (time);
";
