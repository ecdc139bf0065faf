-- The greatest number by which anybody moved the mailbox: whoever has a lesser one was taken for gone, and changes nothing any more.
ALTER TABLE mail_box ADD COLUMN fence BIGINT NOT NULL DEFAULT 0;
