-- Bodies and the packs that they lie in, in words that both engines share. For SQLite BIGINT becomes
-- INTEGER, BYTEA becomes BLOB and what is marked as strict becomes so. Times are seconds since 1970.

-- One row: what the processes on this store share.
CREATE TABLE mail_store (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    -- The number that was given last to a process that writes. Numbers of bodies and packs begin with it.
    writer BIGINT NOT NULL,
    -- 32 random bytes, which parts are hashed with: nobody can tell from outside whether a file is here already.
    part_key BYTEA NOT NULL
) /* strict */;

-- A message as it came. Its frame is at `start` in the pack.
CREATE TABLE mail_body (
    id BIGINT NOT NULL PRIMARY KEY,
    pack BIGINT NOT NULL,
    start BIGINT NOT NULL,
    length BIGINT NOT NULL,
    -- Bytes of the message, and of its header with the empty line that ends it.
    original BIGINT NOT NULL,
    header BIGINT NOT NULL,
    -- Who needs it: rows of mailboxes and of the queue.
    refs BIGINT NOT NULL,
    -- The hashes of its parts in mail_part, 32 bytes each.
    parts BYTEA
) /* strict */;
-- Whether anything names a pack is asked before it is deleted.
CREATE INDEX mail_body_pack ON mail_body (pack);
CREATE INDEX mail_body_unneeded ON mail_body (id) WHERE refs <= 0;

-- Large parts, each once, by the keyed BLAKE3 of what they hold.
CREATE TABLE mail_part (
    hash BYTEA NOT NULL PRIMARY KEY,
    pack BIGINT NOT NULL,
    start BIGINT NOT NULL,
    length BIGINT NOT NULL,
    -- Bodies that have it.
    refs BIGINT NOT NULL
) /* strict */;
CREATE INDEX mail_part_pack ON mail_part (pack);

CREATE TABLE mail_pack (
    id BIGINT NOT NULL PRIMARY KEY,
    created BIGINT NOT NULL,
    -- Where the last frame ends that a row named, and how many bytes of frames have a row.
    bytes BIGINT NOT NULL,
    live BIGINT NOT NULL,
    -- 0: rows may name it. 1: it is being emptied, and no new row may. 2: nothing names it, and it is deleted when the
    -- readers that are under way have ended. 3: deleted; the row stays a while, so that who is late is refused.
    state BIGINT NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),
    -- Since when, or when it was last worked on.
    since BIGINT NOT NULL
) /* strict */;
CREATE INDEX mail_pack_leaving ON mail_pack (state, since) WHERE state > 0;

-- Copies of the dictionaries that lie beside the packs: without one of them most mail can't be read.
CREATE TABLE mail_dictionary (
    id BIGINT NOT NULL PRIMARY KEY,
    object BYTEA NOT NULL
) /* strict */;

