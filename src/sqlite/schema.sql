-- Times are microseconds since 1970; amounts are millionths.

-- How many budgets there are, and how often something was forgotten on request.
CREATE TABLE total (
    budgets INTEGER NOT NULL,
    resets INTEGER NOT NULL
) STRICT;
INSERT INTO total VALUES (0, 0);

-- What is counted, by its digest.
CREATE TABLE quota (
    id BLOB PRIMARY KEY,
    policy TEXT NOT NULL,
    place TEXT NOT NULL,
    -- Seconds: of a rolling window; less than 0 of the calendar; 0 for what is
    -- under way.
    period INTEGER NOT NULL,
    -- 0: session, 1: caller, 2: server.
    scope INTEGER NOT NULL,
    -- As of the last charge.
    max INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE budget (
    server TEXT NOT NULL,
    -- The integer 0 if all callers count together.
    caller ANY NOT NULL,
    quota BLOB NOT NULL,
    -- As the window says.
    counted BLOB NOT NULL,
    -- How many budgets it is: its own and those of sessions.
    size INTEGER NOT NULL,
    -- When something was counted last.
    latest INTEGER NOT NULL,
    -- When nothing is counted any more; the greatest number while something is
    -- under way.
    expires INTEGER NOT NULL,
    PRIMARY KEY (server, caller, quota)
) STRICT, WITHOUT ROWID;

-- Who uses this file. Whoever has ended has let go of a lock on the file of this
-- name.
CREATE TABLE process (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- What was charged to limits of what is under way, until it has ended.
CREATE TABLE under_way (
    id BLOB NOT NULL,
    charge INTEGER NOT NULL,
    process TEXT NOT NULL,
    server TEXT NOT NULL,
    caller ANY NOT NULL,
    quota BLOB NOT NULL,
    session TEXT,
    amount INTEGER NOT NULL,
    at INTEGER NOT NULL,
    resets INTEGER NOT NULL,
    PRIMARY KEY (id, charge)
) STRICT, WITHOUT ROWID;
