-- Until when it is held that failed and of which nobody could be told. None for what an operator holds: that stays.
ALTER TABLE mail_queue_recipient ADD COLUMN held_until BIGINT;
