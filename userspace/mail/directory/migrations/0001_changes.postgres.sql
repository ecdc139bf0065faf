-- The log of changes and what fills it, so that nobody has to remember to.
--
-- Numbers are drawn before the commit, so a lower one can become visible after a higher one. That
-- is why each row has its transaction: a reader takes what its last snapshot did not see yet.
CREATE TABLE mail_change (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xact BIGINT NOT NULL DEFAULT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    at BIGINT NOT NULL DEFAULT CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT)
);
CREATE INDEX mail_change_xact ON mail_change (xact);
CREATE INDEX mail_change_at ON mail_change (at);

-- Once for each statement, however many rows it changed. It writes with its owner's rights: who may
-- change an account needs no right on the log.
CREATE FUNCTION mail_note_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted BIGINT;
    log TEXT := format('INSERT INTO %I.mail_change (kind, name) SELECT %L, ', TG_TABLE_SCHEMA, TG_ARGV[0]);
BEGIN
    IF TG_OP = 'INSERT' THEN
        EXECUTE log || format('CAST(%I AS TEXT) FROM new_rows', TG_ARGV[1]);
    ELSIF TG_OP = 'DELETE' THEN
        EXECUTE log || format('CAST(%I AS TEXT) FROM old_rows', TG_ARGV[1]);
    ELSE
        EXECUTE log || format('CAST(%1$I AS TEXT) FROM (SELECT %1$I FROM new_rows UNION SELECT %1$I FROM old_rows) AS rows', TG_ARGV[1]);
    END IF;
    GET DIAGNOSTICS noted = ROW_COUNT;
    IF noted > 0 THEN
        PERFORM pg_notify('muralla_mail', '');
    END IF;
    RETURN NULL;
END
$$;

-- A table that was emptied at once: everything is to be read again.
CREATE FUNCTION mail_note_truncation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.mail_change (kind, name) VALUES (''all'', %L)', TG_TABLE_SCHEMA, TG_TABLE_NAME);
    PERFORM pg_notify('muralla_mail', '');
    RETURN NULL;
END
$$;

-- A trigger with tables of what changed may have one event only.
DO $$
DECLARE
    line TEXT[];
    call TEXT;
BEGIN
    FOREACH line SLICE 1 IN ARRAY ARRAY[
        ['mail_account', 'account', 'id'],
        ['mail_app_password', 'account', 'account'],
        ['mail_forward', 'account', 'account'],
        ['mail_alias', 'alias', 'name'],
        ['mail_domain', 'domain', 'name'],
        ['mail_backend', 'backend', 'name'],
        ['mail_shard', 'shard', 'name'],
        ['mail_dkim_key', 'dkim_key', 'domain'],
        ['mail_setting', 'setting', 'name']
    ] LOOP
        call := format('mail_note_change(%L, %L)', line[2], line[3]);
        EXECUTE format('CREATE TRIGGER %I AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION %s', line[1] || '_inserted', line[1], call);
        EXECUTE format('CREATE TRIGGER %I AFTER UPDATE ON %I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION %s', line[1] || '_updated', line[1], call);
        EXECUTE format('CREATE TRIGGER %I AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION %s', line[1] || '_deleted', line[1], call);
        EXECUTE format('CREATE TRIGGER %I AFTER TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION mail_note_truncation()', line[1] || '_truncated', line[1]);
    END LOOP;
END
$$;
