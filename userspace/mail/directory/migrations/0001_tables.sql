-- The tables, in words that both engines share. For SQLite BIGINT becomes INTEGER, BYTEA becomes
-- BLOB and what is marked as strict becomes so.
--
-- Times are seconds since 1970. A name is an address as our own are looked up: its local part in
-- lower case and without quotes, its domain in A-labels. Other addresses are as on the wire. NULL
-- in a limit means that the domain says it, or the configuration; 0 that there is none.

-- The last number of each kind that was given out. None is ever given out twice, not even after
-- its owner was deleted: what lies under it elsewhere must not become somebody else's.
CREATE TABLE mail_number (
    kind TEXT NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
) /* strict */;

-- What all servers must agree on, such as the key that invents salts for who does not exist.
CREATE TABLE mail_setting (
    name TEXT NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
) /* strict */;

-- A store that mailboxes live in.
CREATE TABLE mail_shard (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id > 0),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    -- Its database and its packs, where the configuration does not say it.
    location TEXT,
    packs TEXT,
    -- 1: no new accounts.
    closed BIGINT NOT NULL DEFAULT 0 CHECK (closed IN (0, 1)),
    note TEXT
) /* strict */;

-- Where mail is handed over. The store is one as well, without a row: its name is store.
CREATE TABLE mail_backend (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id > 0),
    name TEXT NOT NULL UNIQUE CHECK (name <> '' AND name <> 'store'),
    kind TEXT NOT NULL CHECK (kind IN ('lmtp', 'smtp', 'maildir')),
    host TEXT,
    port BIGINT CHECK (port BETWEEN 1 AND 65535),
    -- Of Maildir, with %u, %n and %d for the address, its local part and its domain.
    path TEXT,
    note TEXT,
    CHECK ((kind = 'maildir' AND path IS NOT NULL) OR (kind <> 'maildir' AND host IS NOT NULL AND port IS NOT NULL))
) /* strict */;

CREATE TABLE mail_domain (
    name TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
    -- The domain whose addresses all of this one's are, too.
    alias_of TEXT REFERENCES mail_domain (name),
    disabled BIGINT NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    -- 1: what is nobody's goes to the back-ends, which know more than we do.
    relay BIGINT NOT NULL DEFAULT 0 CHECK (relay IN (0, 1)),
    -- Where mail goes that is nobody's, one address in each line.
    catch_all TEXT NOT NULL DEFAULT '',
    -- What parts a detail from a name, as in name+detail; empty if nothing does.
    separator TEXT NOT NULL DEFAULT '+',
    -- Names of back-ends, one in each line; the store if there is none.
    backends TEXT NOT NULL DEFAULT '',
    shard BIGINT REFERENCES mail_shard (id),
    quota_bytes BIGINT CHECK (quota_bytes >= 0),
    messages_per_hour BIGINT CHECK (messages_per_hour BETWEEN 0 AND 4294967295),
    messages_per_day BIGINT CHECK (messages_per_day BETWEEN 0 AND 4294967295),
    recipients_per_hour BIGINT CHECK (recipients_per_hour BETWEEN 0 AND 4294967295),
    recipients_per_day BIGINT CHECK (recipients_per_day BETWEEN 0 AND 4294967295),
    recipients_per_message BIGINT CHECK (recipients_per_message BETWEEN 0 AND 4294967295),
    created BIGINT NOT NULL,
    note TEXT
) /* strict */;

CREATE TABLE mail_account (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id > 0),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    domain TEXT NOT NULL REFERENCES mail_domain (name),
    -- {SCHEME}text, such as {SSHA}...; empty if no password will ever do.
    credential TEXT NOT NULL DEFAULT '',
    -- Iterations, salt, stored key and server key of SCRAM-SHA-256 (RFC 5802), made of the same password.
    scram TEXT,
    shard BIGINT NOT NULL REFERENCES mail_shard (id),
    -- Names of back-ends, one in each line; the domain's if there is none.
    backends TEXT NOT NULL DEFAULT '',
    quota_bytes BIGINT CHECK (quota_bytes >= 0),
    -- 1: neither mail nor a login is taken.
    disabled BIGINT NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    -- 0: nothing is taken for sending, and everything else is as before.
    may_send BIGINT NOT NULL DEFAULT 1 CHECK (may_send IN (0, 1)),
    -- 1: what is forwarded stays here as well.
    keep_copy BIGINT NOT NULL DEFAULT 1 CHECK (keep_copy IN (0, 1)),
    -- Addresses, or @domain, that the account may send as beside its own, one in each line.
    senders TEXT NOT NULL DEFAULT '',
    messages_per_hour BIGINT CHECK (messages_per_hour BETWEEN 0 AND 4294967295),
    messages_per_day BIGINT CHECK (messages_per_day BETWEEN 0 AND 4294967295),
    recipients_per_hour BIGINT CHECK (recipients_per_hour BETWEEN 0 AND 4294967295),
    recipients_per_day BIGINT CHECK (recipients_per_day BETWEEN 0 AND 4294967295),
    recipients_per_message BIGINT CHECK (recipients_per_message BETWEEN 0 AND 4294967295),
    -- The subscriber of RADIUS who is the same person.
    subscriber TEXT,
    created BIGINT NOT NULL,
    note TEXT
) /* strict */;
CREATE INDEX mail_account_domain ON mail_account (domain);
CREATE INDEX mail_account_shard ON mail_account (shard);
CREATE INDEX mail_account_subscriber ON mail_account (subscriber) WHERE subscriber IS NOT NULL;

-- A row for each target of an alias.
CREATE TABLE mail_alias (
    name TEXT NOT NULL CHECK (name <> ''),
    target TEXT NOT NULL CHECK (target <> ''),
    domain TEXT NOT NULL REFERENCES mail_domain (name),
    -- 1: an account that is a target may send as the alias.
    may_send BIGINT NOT NULL DEFAULT 1 CHECK (may_send IN (0, 1)),
    note TEXT,
    PRIMARY KEY (name, target)
) /* strict */;
CREATE INDEX mail_alias_domain ON mail_alias (domain);
CREATE INDEX mail_alias_target ON mail_alias (target);

CREATE TABLE mail_forward (
    account BIGINT NOT NULL REFERENCES mail_account (id) ON DELETE CASCADE,
    target TEXT NOT NULL CHECK (target <> ''),
    PRIMARY KEY (account, target)
) /* strict */;

CREATE TABLE mail_app_password (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id > 0),
    account BIGINT NOT NULL REFERENCES mail_account (id) ON DELETE CASCADE,
    -- What its owner calls it, such as the device that has it.
    label TEXT NOT NULL CHECK (label <> ''),
    credential TEXT NOT NULL DEFAULT '',
    scram TEXT,
    -- What it is good for, parted by spaces: pop3, imap, submission, webmail.
    protocols TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT,
    UNIQUE (account, label)
) /* strict */;

-- Whom an account knows: mail from them is always let in. Too many to be in every server's memory,
-- so they are asked for when a message is there.
CREATE TABLE mail_contact (
    account BIGINT NOT NULL REFERENCES mail_account (id) ON DELETE CASCADE,
    -- In lower case as a whole, because people write it so or so.
    address TEXT NOT NULL CHECK (address <> ''),
    name TEXT,
    -- Who entered it: person, or sent if mail was sent there.
    source TEXT NOT NULL CHECK (source IN ('person', 'sent')),
    created BIGINT NOT NULL,
    PRIMARY KEY (account, address)
) /* strict */;

CREATE TABLE mail_dkim_key (
    domain TEXT NOT NULL REFERENCES mail_domain (name),
    selector TEXT NOT NULL CHECK (selector <> ''),
    -- rsa-sha256 (RFC 6376) or ed25519-sha256 (RFC 8463).
    algorithm TEXT NOT NULL CHECK (algorithm IN ('rsa-sha256', 'ed25519-sha256')),
    -- PKCS #8 in PEM.
    private_key TEXT NOT NULL CHECK (private_key <> ''),
    -- 1: mail is signed with it. 0: it is published and waits, or mail that it signed is still under way.
    active BIGINT NOT NULL DEFAULT 0 CHECK (active IN (0, 1)),
    created BIGINT NOT NULL,
    PRIMARY KEY (domain, selector)
) /* strict */;

-- Who has one box needs to know of no shard.
INSERT INTO mail_shard (id, name) VALUES (1, 'main');
INSERT INTO mail_number (kind, last) VALUES ('account', 0), ('app_password', 0), ('backend', 0), ('shard', 1);
