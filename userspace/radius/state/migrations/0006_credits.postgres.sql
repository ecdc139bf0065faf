-- What prepaid subscribers use up fills the log as sessions do; it is no news of who they are. Whether somebody is one is.
CREATE OR REPLACE FUNCTION radius_note_subscriber() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted BIGINT;
BEGIN
    EXECUTE format('INSERT INTO %I.radius_change (kind, name)', TG_TABLE_SCHEMA) || '
        SELECT CASE
            WHEN to_jsonb(new_rows) - ''credit_seconds'' - ''credit_bytes'' = to_jsonb(old_rows) - ''credit_seconds'' - ''credit_bytes''
                AND (new_rows.credit_seconds IS NULL) = (old_rows.credit_seconds IS NULL)
                AND (new_rows.credit_bytes IS NULL) = (old_rows.credit_bytes IS NULL)
            THEN ''credit''
            ELSE ''subscriber''
        END, name FROM new_rows FULL JOIN old_rows USING (name)';
    GET DIAGNOSTICS noted = ROW_COUNT;
    IF noted > 0 THEN
        PERFORM pg_notify('muralla_radius', '');
    END IF;
    RETURN NULL;
END
$$;
-- Before the index: to lock the table first a little and then wholly would be a deadlock with who reads it to write to it.
DROP TRIGGER radius_subscriber_updated ON radius_subscriber;
CREATE TRIGGER radius_subscriber_updated AFTER UPDATE ON radius_subscriber
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION radius_note_subscriber();
-- Who may have something for good by his reply items is asked for at each start; few have.
CREATE INDEX radius_subscriber_owns ON radius_subscriber (name)
WHERE (lower(reply_items) LIKE '%framed-ip%' OR lower(reply_items) LIKE '%delegated-ip%' OR lower(reply_items) LIKE '%attr-%');
