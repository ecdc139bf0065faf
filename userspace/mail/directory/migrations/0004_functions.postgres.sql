-- These write with their owner's rights, into tables beside the one that calls them: nobody else may hang them on a table of his own. Those
-- that call them go on.
REVOKE EXECUTE ON FUNCTION mail_note_change(), mail_note_truncation() FROM PUBLIC;
