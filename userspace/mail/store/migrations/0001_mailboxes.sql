-- Mailboxes: whose mail it is, in which folder, and which of it was read.

-- One row for each account that ever had mail here. Whoever changes anything of the account locks it first.
CREATE TABLE mail_box (
    account BIGINT NOT NULL PRIMARY KEY,
    -- 0: it lives here. 1: it is being moved away, and takes no changes for a moment. 2: it lives elsewhere.
    state BIGINT NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
    -- Rises with every change; each row has the one that it was changed with.
    modseq BIGINT NOT NULL,
    -- The number of the next folder. Numbers are never given twice.
    next_folder BIGINT NOT NULL,
    -- What the quota counts: all folders together, bytes as they came.
    messages BIGINT NOT NULL,
    bytes BIGINT NOT NULL
) /* strict */;

CREATE TABLE mail_folder (
    account BIGINT NOT NULL,
    id BIGINT NOT NULL,
    -- Names of the path with `/` between them.
    name TEXT NOT NULL,
    -- What it is for: 0 one's own, 1 Inbox, 2 Spam, 3 Sent, 4 Drafts, 5 Trash.
    purpose BIGINT NOT NULL,
    uidvalidity BIGINT NOT NULL,
    next_uid BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    unseen BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    modseq BIGINT NOT NULL,
    PRIMARY KEY (account, id)
) /* strict */;
CREATE UNIQUE INDEX mail_folder_name ON mail_folder (account, name);
CREATE INDEX mail_folder_purpose ON mail_folder (purpose, account) WHERE purpose IN (2, 5);

CREATE TABLE mail_message (
    account BIGINT NOT NULL,
    folder BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    body BIGINT NOT NULL,
    -- Bytes of the message as it came.
    size BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    -- When it was delivered: INTERNALDATE.
    received BIGINT NOT NULL,
    -- When it came into this folder (RFC 8514): what expires, expires by this.
    saved BIGINT NOT NULL,
    modseq BIGINT NOT NULL,
    -- Our id of the message that was delivered, so that it is not stored twice. None for copies and what was appended.
    delivery BYTEA,
    PRIMARY KEY (account, folder, uid)
) /* strict */;
CREATE UNIQUE INDEX mail_message_delivery ON mail_message (delivery, account) WHERE delivery IS NOT NULL;
CREATE INDEX mail_message_modseq ON mail_message (account, modseq);
CREATE INDEX mail_message_saved ON mail_message (account, folder, saved);

-- What was removed, for whoever compares: cut after some weeks.
CREATE TABLE mail_expunged (
    account BIGINT NOT NULL,
    folder BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    modseq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    -- Of a message that was delivered and is gone: it is not delivered again.
    delivery BYTEA,
    PRIMARY KEY (account, modseq, folder, uid)
) /* strict */;
CREATE INDEX mail_expunged_delivery ON mail_expunged (delivery) WHERE delivery IS NOT NULL;
CREATE INDEX mail_expunged_at ON mail_expunged (at);
