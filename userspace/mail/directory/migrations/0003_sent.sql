-- What accounts sent lately, on all servers together: a row for each slot of time in which one did. Servers add to it every few
-- seconds. No key leads to the account: rows go by their age.
CREATE TABLE mail_sent (
    account BIGINT NOT NULL,
    -- Seconds that the slot has, 300 or 3600, and its number since 1970.
    seconds BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    recipients BIGINT NOT NULL,
    PRIMARY KEY (account, seconds, slot)
) /* strict */;
CREATE INDEX mail_sent_slot ON mail_sent (seconds, slot);
