-- Whose mail it is that a recipient gets: the account that forwards it there, so that it can come home. None for the others, and
-- for what was queued before.
ALTER TABLE mail_queue_recipient ADD COLUMN account BIGINT;
