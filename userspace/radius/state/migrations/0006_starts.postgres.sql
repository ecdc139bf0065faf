-- What prepaid subscribers use up fills the log as sessions do; it is no news of who they are.
CREATE OR REPLACE FUNCTION radius_note_subscriber() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted BIGINT;
BEGIN
    EXECUTE format('INSERT INTO %I.radius_change (kind, name)', TG_TABLE_SCHEMA) || '
        SELECT CASE
            WHEN to_jsonb(new_rows) - ''credit_seconds'' - ''credit_bytes'' = to_jsonb(old_rows) - ''credit_seconds'' - ''credit_bytes''
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
DROP TRIGGER radius_subscriber_updated ON radius_subscriber;
CREATE TRIGGER radius_subscriber_updated AFTER UPDATE ON radius_subscriber
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION radius_note_subscriber();
CREATE INDEX radius_change_of_people ON radius_change (xact) WHERE kind <> 'session' AND kind <> 'credit';
