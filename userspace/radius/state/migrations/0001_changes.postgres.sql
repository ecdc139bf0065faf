-- The log of changes and what fills it, so that nobody has to remember to.
--
-- Numbers are drawn before the commit, so a lower one can become visible after a higher one. That
-- is why each row has its transaction: a reader takes what its last snapshot did not see yet.
CREATE TABLE radius_change (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xact BIGINT NOT NULL DEFAULT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    at BIGINT NOT NULL DEFAULT CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT)
);
CREATE INDEX radius_change_xact ON radius_change (xact);
CREATE INDEX radius_change_at ON radius_change (at);

-- Once for each statement, however many rows it changed. It writes with its owner's rights: who may
-- change a subscriber needs no right on the log.
CREATE FUNCTION radius_note_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted BIGINT;
    log TEXT := format('INSERT INTO %I.radius_change (kind, name) SELECT %L, ', TG_TABLE_SCHEMA, TG_ARGV[0]);
BEGIN
    IF TG_OP = 'INSERT' THEN
        EXECUTE log || format('%I FROM new_rows', TG_ARGV[1]);
    ELSIF TG_OP = 'DELETE' THEN
        EXECUTE log || format('%I FROM old_rows', TG_ARGV[1]);
    ELSE
        EXECUTE log || format('%1$I FROM (SELECT %1$I FROM new_rows UNION SELECT %1$I FROM old_rows) AS rows', TG_ARGV[1]);
    END IF;
    GET DIAGNOSTICS noted = ROW_COUNT;
    IF noted > 0 THEN
        PERFORM pg_notify('muralla_radius', '');
    END IF;
    RETURN NULL;
END
$$;

-- Only what opens and closes is news.
CREATE FUNCTION radius_note_session() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted BIGINT;
    log TEXT := format('INSERT INTO %I.radius_change (kind, name) SELECT ''session'', ', TG_TABLE_SCHEMA);
BEGIN
    IF TG_OP = 'INSERT' THEN
        EXECUTE log || 'encode(id, ''hex'') FROM new_rows';
    ELSIF TG_OP = 'DELETE' THEN
        EXECUTE log || 'encode(id, ''hex'') FROM old_rows WHERE state = 0';
    ELSE
        EXECUTE log || 'encode(new_rows.id, ''hex'') FROM new_rows JOIN old_rows ON old_rows.id = new_rows.id WHERE old_rows.state <> new_rows.state';
    END IF;
    GET DIAGNOSTICS noted = ROW_COUNT;
    IF noted > 0 THEN
        PERFORM pg_notify('muralla_radius', '');
    END IF;
    RETURN NULL;
END
$$;

-- A table that was emptied at once: everything is to be read again.
CREATE FUNCTION radius_note_truncation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.radius_change (kind, name) VALUES (''all'', %L)', TG_TABLE_SCHEMA, TG_TABLE_NAME);
    PERFORM pg_notify('muralla_radius', '');
    RETURN NULL;
END
$$;

-- A trigger with tables of what changed may have one event only.
DO $$
DECLARE
    line TEXT[];
BEGIN
    FOREACH line SLICE 1 IN ARRAY ARRAY[
        ['radius_subscriber', 'radius_note_change(''subscriber'', ''name'')'],
        ['radius_profile', 'radius_note_change(''profile'', ''name'')'],
        ['radius_nas', 'radius_note_change(''nas'', ''prefix'')'],
        ['radius_pool_range', 'radius_note_change(''pool'', ''pool'')'],
        ['radius_session', 'radius_note_session()']
    ] LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION %s', line[1] || '_inserted', line[1], line[2]);
        EXECUTE format('CREATE TRIGGER %I AFTER UPDATE ON %I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION %s', line[1] || '_updated', line[1], line[2]);
        EXECUTE format('CREATE TRIGGER %I AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION %s', line[1] || '_deleted', line[1], line[2]);
        EXECUTE format('CREATE TRIGGER %I AFTER TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION radius_note_truncation()', line[1] || '_truncated', line[1]);
    END LOOP;
END
$$;

-- That a pool is wanted is no change of it.
CREATE FUNCTION radius_note_pool() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.radius_change (kind, name) VALUES (''pool'', %L)', TG_TABLE_SCHEMA, CASE TG_OP WHEN 'DELETE' THEN OLD.name ELSE NEW.name END);
    PERFORM pg_notify('muralla_radius', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER radius_pool_changed AFTER INSERT OR DELETE OR UPDATE OF name, length, block, lease_seconds, offer_seconds
ON radius_pool FOR EACH ROW EXECUTE FUNCTION radius_note_pool();
