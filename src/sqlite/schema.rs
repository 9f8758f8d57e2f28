//! What is in the file. What is changed here needs another version.

pub(super) const SCHEMA: &str = "
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

-- What seals request states; one row at most.
CREATE TABLE request_state_key (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key BLOB NOT NULL
) STRICT;

-- Request states with which clients can come back, since when.
CREATE TABLE kept_state (
    id BLOB PRIMARY KEY,
    caller TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_state_by_age ON kept_state (at);
CREATE INDEX kept_state_by_caller ON kept_state (caller);

-- Whose sessions (kind 0) and tasks (kind 1) are, by digests of their ids.
CREATE TABLE owned (
    server TEXT NOT NULL,
    kind INTEGER NOT NULL,
    id BLOB NOT NULL,
    owner TEXT NOT NULL,
    -- What the client said of itself, or the tool.
    detail TEXT,
    used INTEGER NOT NULL,
    PRIMARY KEY (server, kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX owned_by_use ON owned (server, kind, owner, used);

-- How many there are.
CREATE TABLE kept (
    server TEXT NOT NULL,
    kind INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    PRIMARY KEY (server, kind)
) STRICT, WITHOUT ROWID;

-- How many an owner has, and when that was used which has not been for longest.
CREATE TABLE owner (
    server TEXT NOT NULL,
    kind INTEGER NOT NULL,
    owner TEXT NOT NULL,
    entries INTEGER NOT NULL,
    oldest INTEGER NOT NULL,
    PRIMARY KEY (server, kind, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX owner_by_rank ON owner (server, kind, entries DESC, oldest);

CREATE TRIGGER owned_begins AFTER INSERT ON owned BEGIN
    INSERT INTO kept VALUES (new.server, new.kind, 1)
        ON CONFLICT DO UPDATE SET entries = entries + 1;
    INSERT INTO owner VALUES (new.server, new.kind, new.owner, 1, new.used)
        ON CONFLICT DO UPDATE SET entries = entries + 1, oldest = min(oldest, new.used);
END;

CREATE TRIGGER owned_ends AFTER DELETE ON owned BEGIN
    UPDATE kept SET entries = entries - 1 WHERE (server, kind) = (old.server, old.kind);
    UPDATE owner SET entries = entries - 1, oldest = coalesce((
            SELECT min(used) FROM owned
            WHERE (server, kind, owner) = (old.server, old.kind, old.owner)
        ), 0)
        WHERE (server, kind, owner) = (old.server, old.kind, old.owner);
    DELETE FROM owner
        WHERE (server, kind, owner) = (old.server, old.kind, old.owner) AND entries = 0;
END;

CREATE TRIGGER owned_is_used AFTER UPDATE OF used ON owned BEGIN
    UPDATE owner SET oldest = (
            SELECT min(used) FROM owned
            WHERE (server, kind, owner) = (new.server, new.kind, new.owner)
        )
        WHERE (server, kind, owner) = (new.server, new.kind, new.owner);
END;

-- Calls that wait for an approval, or did.
CREATE TABLE approval (
    -- In which order they came.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    server TEXT NOT NULL,
    id TEXT NOT NULL,
    -- Of the call.
    digest BLOB NOT NULL,
    caller TEXT NOT NULL,
    state TEXT NOT NULL,
    -- 1 while it is pending or approved, or denied and refuses the same call; 0 when
    -- it has ended.
    in_force INTEGER NOT NULL,
    -- When it is over, or when it has ended.
    ends INTEGER NOT NULL,
    request TEXT NOT NULL,
    -- The values of the call, until it is decided that it may not be made, or it is.
    shown TEXT,
    -- How many bytes of them there are.
    bytes INTEGER NOT NULL,
    UNIQUE (server, id)
) STRICT;
CREATE UNIQUE INDEX approval_of_call ON approval (server, digest) WHERE in_force = 1;
CREATE INDEX approval_by_end ON approval (server, in_force, ends);
CREATE INDEX approval_of_caller ON approval (server, in_force, caller, state);
CREATE INDEX approval_by_state ON approval (server, in_force, state, bytes);

-- Who has asked for something new in the last hour, and when.
CREATE TABLE approval_asked (
    server TEXT NOT NULL,
    caller TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX approval_asked_by_time ON approval_asked (server, at);
CREATE INDEX approval_asked_by_caller ON approval_asked (server, caller, at);

-- What became of requests lately, for other processes, and who says so.
CREATE TABLE approval_change (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    server TEXT NOT NULL,
    writer TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL
) STRICT;
";
