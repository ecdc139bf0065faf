-- What the last writing added to a session's totals: off its subscriber's credit in the same
-- transaction, and written again it is nothing.
ALTER TABLE radius_session ADD COLUMN grown_time BIGINT NOT NULL DEFAULT 0;
ALTER TABLE radius_session ADD COLUMN grown_octets BIGINT NOT NULL DEFAULT 0;
CREATE INDEX radius_session_open_of ON radius_session (user_name) WHERE state = 0;
CREATE INDEX radius_session_address ON radius_session (address, started);
-- Who had an address of IPv6, or what it was of.
CREATE INDEX radius_session_prefix6 ON radius_session (prefix6, started) WHERE prefix6 <> '';
CREATE INDEX radius_session_delegated6 ON radius_session (delegated6, started)
WHERE delegated6 <> '';
CREATE INDEX radius_session_address6 ON radius_session (address6, started) WHERE address6 <> '';
-- Who has an address now: what an open session has is given to nobody else.
CREATE INDEX radius_session_has_address ON radius_session (address)
WHERE state = 0 AND address <> '';
CREATE INDEX radius_session_has_prefix6 ON radius_session (prefix6)
WHERE state = 0 AND prefix6 <> '';
CREATE INDEX radius_session_has_delegated6 ON radius_session (delegated6)
WHERE state = 0 AND delegated6 <> '';
