-- These write with their owner's rights, into tables beside the one that calls them: nobody else may hang them on a table of his own. Those
-- that call them go on.
REVOKE EXECUTE ON FUNCTION
    radius_note_change(),
    radius_note_session(),
    radius_note_subscriber(),
    radius_note_pool(),
    radius_note_truncation()
FROM PUBLIC;
