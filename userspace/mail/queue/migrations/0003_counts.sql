-- What is counted again and again is counted out of indexes, and none of the long rows is read for it.
CREATE INDEX mail_queue_created ON mail_queue (created, size);
CREATE INDEX mail_queue_recipient_aside ON mail_queue_recipient (state) WHERE state > 0;
