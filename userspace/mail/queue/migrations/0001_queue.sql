-- Mail that is on its way out, in words that both engines share. For SQLite BIGINT becomes INTEGER, BYTEA becomes BLOB
-- and what is marked as strict becomes so. Times are seconds since 1970.

CREATE TABLE mail_queue (
    -- Our id of the message, 16 bytes.
    id BYTEA NOT NULL PRIMARY KEY,
    -- All of the envelope but its recipients.
    envelope BYTEA NOT NULL,
    -- Its row in mail_body, which is released with the last recipient.
    body BIGINT NOT NULL,
    size BIGINT NOT NULL,
    -- For operators. Nothing for <>.
    sender TEXT NOT NULL,
    -- 1 if the sender may be told what became of it: he proved who he is.
    known BIGINT NOT NULL CHECK (known IN (0, 1)),
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    -- When its sender is to be told that it takes long; none if never, or if it was looked at.
    delay BIGINT
) /* strict */;
CREATE INDEX mail_queue_expires ON mail_queue (expires);
CREATE INDEX mail_queue_delay ON mail_queue (delay) WHERE delay IS NOT NULL;
CREATE INDEX mail_queue_sender ON mail_queue (sender);

CREATE TABLE mail_queue_recipient (
    message BYTEA NOT NULL,
    -- His place in the envelope.
    number BIGINT NOT NULL,
    address TEXT NOT NULL,
    -- What RCPT TO said beside the address, as JSON.
    parameters TEXT,
    -- Where it goes: a row of mail_queue_destination.
    destination TEXT NOT NULL,
    -- 0: waits, or is being tried. 1: held by an operator. 2: over, and its sender is still to be told.
    state BIGINT NOT NULL CHECK (state BETWEEN 0 AND 2),
    -- When it may be tried. While somebody tries, when his lease ends: so that it is due again if he died.
    due BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    -- The last attempt: when, what was said (JSON), by whom.
    tried BIGINT,
    reply TEXT,
    host TEXT,
    -- Who tries it, and in which of his lives: name#life. The number rises whenever somebody takes it, and who reports an older
    -- one comes too late.
    owner TEXT,
    fence BIGINT NOT NULL,
    -- What the sender is to be told: 0 nothing, 1 delayed, 2 relayed, 3 delivered, 4 failed.
    owed BIGINT NOT NULL CHECK (owed BETWEEN 0 AND 4),
    PRIMARY KEY (message, number)
) /* strict */;
CREATE INDEX mail_queue_recipient_due ON mail_queue_recipient (destination, due) WHERE state = 0;
CREATE INDEX mail_queue_recipient_owed ON mail_queue_recipient (message) WHERE owed > 0;
CREATE INDEX mail_queue_recipient_owner ON mail_queue_recipient (owner) WHERE owner IS NOT NULL;

-- Who takes. A process that begins again under the same name has another life; the newest of a name stays, so that no number is
-- given twice.
CREATE TABLE mail_queue_owner (
    name TEXT NOT NULL,
    life BIGINT NOT NULL,
    -- When it was last heard of. 0 if it never took anything, or said farewell.
    seen BIGINT NOT NULL,
    PRIMARY KEY (name, life)
) /* strict */;

-- Destinations that something waits for. Whoever makes a recipient due lowers `due` here in the same transaction; it rises only
-- under the row's lock, to what is due next. So who looks for work reads rows that have some, and nothing else.
CREATE TABLE mail_queue_destination (
    name TEXT NOT NULL PRIMARY KEY,
    -- Never later than the first of its recipients, unless it is backed off from. Never before `backoff`.
    due BIGINT NOT NULL,
    -- Nothing is tried before.
    backoff BIGINT NOT NULL
) /* strict */;
CREATE INDEX mail_queue_destination_due ON mail_queue_destination (due);

-- Messages that have left the queue, for a while: what is submitted again after its answer was lost is not sent twice.
CREATE TABLE mail_queue_done (
    id BYTEA NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
) /* strict */;
CREATE INDEX mail_queue_done_at ON mail_queue_done (at);

-- The lives of messages, for traces.
CREATE TABLE mail_event (
    message BYTEA NOT NULL,
    -- Milliseconds since 1970.
    at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    -- What the message calls itself: Message-ID.
    header_id TEXT,
    sender TEXT,
    recipient TEXT,
    text TEXT NOT NULL
) /* strict */;
CREATE INDEX mail_event_message ON mail_event (message);
CREATE INDEX mail_event_header_id ON mail_event (header_id) WHERE header_id IS NOT NULL;
CREATE INDEX mail_event_sender ON mail_event (sender, at_ms) WHERE sender IS NOT NULL;
CREATE INDEX mail_event_recipient ON mail_event (recipient, at_ms) WHERE recipient IS NOT NULL;
CREATE INDEX mail_event_at ON mail_event (at_ms);
