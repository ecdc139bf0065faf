-- How the account's subscriber is, where he lies in this database: 0 he may have access, 1 he is blocked. NULL: he does not, or there is
-- none, and what is said of one is a note. It follows the subscriber's row (see identity_schema).
ALTER TABLE mail_account ADD COLUMN subscriber_state BIGINT CHECK (subscriber_state IN (0, 1));

-- Mailboxes that are on their way to another shard. Whoever moves one says again and again that he does, by a number that he was given; who
-- takes over from him has a greater one, and what he does with the lesser one comes to nothing, here and in the shards.
CREATE TABLE mail_move (
    account BIGINT NOT NULL PRIMARY KEY,
    from_shard BIGINT NOT NULL,
    to_shard BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    -- Who it is, for people.
    mover TEXT NOT NULL,
    began BIGINT NOT NULL,
    -- Until when he is known to be there.
    until BIGINT NOT NULL
) /* strict */;
CREATE INDEX mail_move_until ON mail_move (until);
INSERT INTO mail_number (kind, last) VALUES ('move', 0);
