-- What the last writing added to a session's totals: off its subscriber's credit in the same
-- transaction, and written again it is nothing.
ALTER TABLE radius_session ADD COLUMN grown_time BIGINT NOT NULL DEFAULT 0;
ALTER TABLE radius_session ADD COLUMN grown_octets BIGINT NOT NULL DEFAULT 0;
CREATE INDEX radius_session_open_of ON radius_session (user_name) WHERE state = 0;
