-- What was imported from other servers, so that it is brought once; and what POP3 called it there, so that who fetched it needn't do
-- so again.
CREATE TABLE mail_imported (
    account BIGINT NOT NULL,
    -- Our id of the message, which follows from what its server calls it: `delivery` of its row, as long as that is there.
    identity BYTEA NOT NULL,
    -- What POP3 called it (RFC 1939 section 7). None if nobody knows, or if another message of the account is called so.
    uidl TEXT,
    -- When it was imported, or last looked at.
    at BIGINT NOT NULL,
    PRIMARY KEY (account, identity)
) /* strict */;
CREATE UNIQUE INDEX mail_imported_uidl ON mail_imported (account, uidl) WHERE uidl IS NOT NULL;
CREATE INDEX mail_imported_at ON mail_imported (at);
