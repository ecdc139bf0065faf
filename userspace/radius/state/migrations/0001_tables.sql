-- The tables, in words that both engines share. For SQLite BIGINT becomes INTEGER, BYTEA becomes
-- BLOB and what is marked as strict becomes so.
--
-- Times are seconds since 1970, days are days since 1970 in the configured offset from UTC. Items
-- are in FreeRADIUS' notation, one in each line. Addresses and prefixes are in canonical text.

-- Each server that works on this database. Its number rises at every start, so that what an
-- earlier life of it still does is recognised.
CREATE TABLE radius_server (
    name TEXT NOT NULL PRIMARY KEY,
    incarnation BIGINT NOT NULL,
    seen BIGINT NOT NULL,
    -- What it received until then is in this database; 0 if it takes no accounting.
    exported BIGINT NOT NULL DEFAULT 0
) /* strict */;

CREATE TABLE radius_profile (
    name TEXT NOT NULL PRIMARY KEY,
    -- Profiles it builds on, one in each line; what comes first goes before what comes later.
    parents TEXT NOT NULL DEFAULT '',
    check_items TEXT NOT NULL DEFAULT '',
    reply_items TEXT NOT NULL DEFAULT '',
    simultaneous BIGINT CHECK (simultaneous BETWEEN 0 AND 65535),
    -- Where it applied, the subscriber's next profile may apply as well.
    fall_through BIGINT NOT NULL DEFAULT 0 CHECK (fall_through IN (0, 1)),
    pool TEXT,
    pool6 TEXT,
    delegated_pool6 TEXT,
    login_times TEXT,
    session_timeout BIGINT CHECK (session_timeout BETWEEN 1 AND 4294967295),
    idle_timeout BIGINT CHECK (idle_timeout BETWEEN 1 AND 4294967295),
    interim BIGINT CHECK (interim BETWEEN 1 AND 4294967295),
    note TEXT
) /* strict */;

CREATE TABLE radius_subscriber (
    name TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
    -- {SCHEME}text, such as {SSHA}...; empty if no password will ever do.
    credential TEXT NOT NULL DEFAULT '',
    -- One in each line; the first that applies is taken.
    profiles TEXT NOT NULL DEFAULT '',
    disabled BIGINT NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    not_before BIGINT,
    not_after BIGINT,
    credit_seconds BIGINT,
    credit_bytes BIGINT,
    simultaneous BIGINT CHECK (simultaneous BETWEEN 0 AND 65535),
    check_items TEXT NOT NULL DEFAULT '',
    reply_items TEXT NOT NULL DEFAULT '',
    -- Framed-IP-Address, Framed-IPv6-Prefix, Delegated-IPv6-Prefix.
    address TEXT,
    prefix6 TEXT,
    delegated6 TEXT,
    -- The pools they come from otherwise.
    pool TEXT,
    pool6 TEXT,
    delegated_pool6 TEXT,
    note TEXT
) /* strict */;
CREATE UNIQUE INDEX radius_subscriber_address ON radius_subscriber (address);
CREATE UNIQUE INDEX radius_subscriber_prefix6 ON radius_subscriber (prefix6);
CREATE UNIQUE INDEX radius_subscriber_delegated6 ON radius_subscriber (delegated6);

CREATE TABLE radius_nas (
    prefix TEXT NOT NULL PRIMARY KEY,
    -- Several prefixes may have one name.
    name TEXT NOT NULL CHECK (name <> ''),
    secret TEXT NOT NULL CHECK (secret <> ''),
    next_secret TEXT CHECK (next_secret <> ''),
    telco TEXT,
    -- 1: requests without a Message-Authenticator are taken from it.
    relaxed BIGINT NOT NULL DEFAULT 0 CHECK (relaxed IN (0, 1)),
    coa_port BIGINT NOT NULL DEFAULT 3799 CHECK (coa_port BETWEEN 1 AND 65535),
    -- Groups that check items may name (Huntgroup-Name), one in each line.
    huntgroups TEXT NOT NULL DEFAULT '',
    note TEXT
) /* strict */;
CREATE INDEX radius_nas_name ON radius_nas (name);

CREATE TABLE radius_pool (
    name TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
    -- Length of what is given out: 32 for addresses of IPv4, 33 to 64 for prefixes of IPv6.
    length BIGINT NOT NULL CHECK (length BETWEEN 32 AND 64),
    -- How many a server reserves at once: a power of two, fixed for good.
    block BIGINT NOT NULL DEFAULT 64 CHECK (block IN (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)),
    -- Seconds a lease lives after the last accounting record, and before the first.
    lease_seconds BIGINT NOT NULL DEFAULT 3600 CHECK (lease_seconds > 0),
    offer_seconds BIGINT NOT NULL DEFAULT 300 CHECK (offer_seconds > 0),
    -- When a server last found nothing left.
    wanted BIGINT NOT NULL DEFAULT 0,
    note TEXT
) /* strict */;

-- A prefix, or for IPv4 also "first-last".
CREATE TABLE radius_pool_range (
    pool TEXT NOT NULL REFERENCES radius_pool (name) ON UPDATE CASCADE ON DELETE CASCADE,
    addresses TEXT NOT NULL,
    PRIMARY KEY (pool, addresses)
) /* strict */;

-- Blocks that some server has reserved at some time. Nobody else gives anything out of a block
-- before free_at, and nobody at all if there is no owner.
CREATE TABLE radius_block (
    pool TEXT NOT NULL,
    first TEXT NOT NULL,
    owner TEXT,
    incarnation BIGINT NOT NULL,
    until BIGINT NOT NULL,
    free_at BIGINT NOT NULL,
    PRIMARY KEY (pool, first)
) /* strict */;
CREATE INDEX radius_block_owner ON radius_block (owner);

CREATE TABLE radius_lease (
    address TEXT NOT NULL PRIMARY KEY,
    pool TEXT NOT NULL,
    block TEXT NOT NULL,
    user_name TEXT NOT NULL,
    nas TEXT NOT NULL,
    -- What tells two logins of a user at a NAS apart, hashed; 0 if nothing does.
    line BIGINT NOT NULL,
    -- The session, once accounting told of it.
    session BYTEA,
    since BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    -- 1: given back, which the block's owner has not seen yet.
    released BIGINT NOT NULL DEFAULT 0 CHECK (released IN (0, 1))
) /* strict */;
CREATE INDEX radius_lease_block ON radius_lease (pool, block);
CREATE INDEX radius_lease_released ON radius_lease (released) WHERE released = 1;

-- A session. Every number only ever grows, or shrinks in the case of its beginning, and texts follow
-- the latest record: so records may come twice, in any order and by several servers.
CREATE TABLE radius_session (
    id BYTEA NOT NULL PRIMARY KEY,
    -- 0 open, 1 stopped, 2 its NAS began anew, 3 nothing was heard of it, 4 its id went to another.
    state BIGINT NOT NULL,
    -- The subscriber, and User-Name as it stood.
    user_name TEXT NOT NULL,
    login TEXT NOT NULL,
    nas TEXT NOT NULL,
    telco TEXT NOT NULL,
    -- The box behind the NAS's entry, as it calls itself.
    box TEXT NOT NULL,
    acct_session_id TEXT NOT NULL,
    started BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    -- When it was stopped; 0 if it was not.
    stopped BIGINT NOT NULL,
    -- Up to when it is taken for ended if nothing later is known, and by which of the states above.
    presumed BIGINT NOT NULL,
    presumption BIGINT NOT NULL,
    session_time BIGINT NOT NULL,
    octets_in BIGINT NOT NULL,
    octets_out BIGINT NOT NULL,
    packets_in BIGINT NOT NULL,
    packets_out BIGINT NOT NULL,
    cause BIGINT NOT NULL,
    address TEXT NOT NULL,
    prefix6 TEXT NOT NULL,
    delegated6 TEXT NOT NULL,
    address6 TEXT NOT NULL,
    calling TEXT NOT NULL,
    called TEXT NOT NULL,
    port TEXT NOT NULL,
    -- All that tells the line, the same at the login: NAS-Port-Id, NAS-Port, Calling-Station-Id,
    -- NAS-Identifier and the NAS's address, with bars between them. Empty if nothing tells one.
    line TEXT NOT NULL DEFAULT '',
    -- Who changed the state last.
    server TEXT NOT NULL
) /* strict */;
CREATE INDEX radius_session_user ON radius_session (user_name, started);
CREATE INDEX radius_session_open ON radius_session (box) WHERE state = 0;
CREATE INDEX radius_session_started ON radius_session (started);

-- Totals that a session had reached by the end of a day. What it used on the day is the difference
-- to the highest of the days before.
CREATE TABLE radius_usage (
    session BYTEA NOT NULL,
    day BIGINT NOT NULL,
    session_time BIGINT NOT NULL,
    octets_in BIGINT NOT NULL,
    octets_out BIGINT NOT NULL,
    PRIMARY KEY (session, day)
) /* strict */;
CREATE INDEX radius_usage_day ON radius_usage (day);

-- When a box last said that it begins or ends: what it had open before is closed.
CREATE TABLE radius_boot (
    box TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
) /* strict */;

-- The accounting records themselves, each once; interim ones only if the configuration says so.
CREATE TABLE radius_record (
    -- The same for each repetition of a record.
    event BYTEA NOT NULL PRIMARY KEY,
    session BYTEA,
    status TEXT NOT NULL,
    at BIGINT NOT NULL,
    received BIGINT NOT NULL,
    server TEXT NOT NULL,
    user_name TEXT NOT NULL,
    login TEXT NOT NULL,
    nas TEXT NOT NULL,
    telco TEXT NOT NULL,
    box TEXT NOT NULL,
    acct_session_id TEXT NOT NULL,
    session_time BIGINT NOT NULL,
    octets_in BIGINT NOT NULL,
    octets_out BIGINT NOT NULL,
    packets_in BIGINT NOT NULL,
    packets_out BIGINT NOT NULL,
    cause BIGINT NOT NULL,
    address TEXT NOT NULL,
    prefix6 TEXT NOT NULL,
    delegated6 TEXT NOT NULL,
    address6 TEXT NOT NULL,
    calling TEXT NOT NULL,
    called TEXT NOT NULL,
    port TEXT NOT NULL,
    class TEXT NOT NULL,
    -- What was not quite right about it.
    doubts TEXT NOT NULL
) /* strict */;
CREATE INDEX radius_record_at ON radius_record (at);
CREATE INDEX radius_record_session ON radius_record (session);
