-- An account is linked with the subscriber of a name when it comes to name one who is there. What was said of one before is a note, as it
-- is where subscribers lie elsewhere: nobody's password changes as a table is made.
--
-- Where a subscriber takes any password, which is for access that is known by its line alone, the account takes none. All of them write
-- with their owner's rights: who may change a password on one side needs no right on the other. So nobody else may hang them on a table of
-- his own, which they would take for ours; those of ours go on calling them.
--
-- A subscriber is locked where an account is linked with him: neither a change of his password nor his end passes by unseen.

CREATE FUNCTION identity_subscriber_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known TEXT := CASE WHEN left(upper(NEW.credential), 4) = '{ANY' THEN '' ELSE NEW.credential END;
BEGIN
    IF OLD.name <> NEW.name THEN
        EXECUTE format('UPDATE %I.mail_account SET subscriber = $2 WHERE subscriber = $1 AND subscriber_state IS NOT NULL', TG_TABLE_SCHEMA)
        USING OLD.name, NEW.name;
    END IF;
    IF OLD.credential <> NEW.credential THEN
        EXECUTE format('
            UPDATE %I.mail_account SET credential = $2, scram = NULL
            WHERE subscriber = $1 AND subscriber_state IS NOT NULL AND credential <> $2', TG_TABLE_SCHEMA)
        USING NEW.name, known;
    END IF;
    EXECUTE format('
        UPDATE %I.mail_account SET subscriber_state = $2
        WHERE subscriber = $1 AND subscriber_state IS NOT NULL AND subscriber_state <> $2', TG_TABLE_SCHEMA)
    USING NEW.name, NEW.disabled;
    RETURN NULL;
END
$$;
-- What is taken off credits all the time comes to nothing here.
CREATE TRIGGER identity_subscriber_changed AFTER UPDATE OF name, credential, disabled ON radius_subscriber FOR EACH ROW
WHEN (OLD.name <> NEW.name OR OLD.credential <> NEW.credential OR OLD.disabled <> NEW.disabled)
EXECUTE FUNCTION identity_subscriber_changed();

-- Who is entered under that name one day may be another person.
CREATE FUNCTION identity_subscribers_removed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('
        UPDATE %I.mail_account AS account SET subscriber = NULL FROM old_rows
        WHERE account.subscriber = old_rows.name AND account.subscriber_state IS NOT NULL', TG_TABLE_SCHEMA);
    RETURN NULL;
END
$$;
CREATE TRIGGER identity_subscribers_removed AFTER DELETE ON radius_subscriber
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION identity_subscribers_removed();

CREATE FUNCTION identity_subscribers_emptied() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('UPDATE %I.mail_account SET subscriber = NULL WHERE subscriber_state IS NOT NULL', TG_TABLE_SCHEMA);
    RETURN NULL;
END
$$;
CREATE TRIGGER identity_subscribers_emptied AFTER TRUNCATE ON radius_subscriber
FOR EACH STATEMENT EXECUTE FUNCTION identity_subscribers_emptied();

CREATE FUNCTION identity_accounts_entered() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('
        UPDATE %1$I.mail_account AS account SET
            subscriber_state = known.disabled,
            scram = CASE WHEN account.credential = known.credential THEN account.scram END,
            credential = known.credential
        FROM (
            SELECT new_rows.id, s.disabled,
                CASE WHEN left(upper(s.credential), 4) = ''{ANY'' THEN '''' ELSE s.credential END AS credential
            FROM new_rows JOIN %1$I.radius_subscriber AS s ON s.name = new_rows.subscriber FOR SHARE OF s
        ) AS known
        WHERE account.id = known.id', TG_TABLE_SCHEMA);
    RETURN NULL;
END
$$;
CREATE TRIGGER identity_accounts_entered AFTER INSERT ON mail_account
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION identity_accounts_entered();

CREATE FUNCTION identity_account_linked() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('
        UPDATE %1$I.mail_account AS account SET
            scram = CASE WHEN account.credential = known.credential THEN account.scram END,
            credential = known.credential
        FROM (
            SELECT CASE WHEN left(upper(s.credential), 4) = ''{ANY'' THEN '''' ELSE s.credential END AS credential
            FROM %1$I.radius_subscriber AS s WHERE s.name = $2 FOR SHARE
        ) AS known
        WHERE account.id = $1', TG_TABLE_SCHEMA)
    USING NEW.id, NEW.subscriber;
    EXECUTE format('
        UPDATE %1$I.mail_account SET subscriber_state = (SELECT s.disabled FROM %1$I.radius_subscriber AS s WHERE s.name = $2)
        WHERE id = $1', TG_TABLE_SCHEMA)
    USING NEW.id, NEW.subscriber;
    RETURN NULL;
END
$$;
CREATE TRIGGER identity_account_linked AFTER UPDATE OF subscriber ON mail_account FOR EACH ROW
WHEN (OLD.subscriber IS DISTINCT FROM NEW.subscriber) EXECUTE FUNCTION identity_account_linked();

CREATE FUNCTION identity_account_password() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('
        UPDATE %I.radius_subscriber SET credential = $2
        WHERE name = $1 AND credential <> $2 AND left(upper(credential), 4) <> ''{ANY''', TG_TABLE_SCHEMA)
    USING NEW.subscriber, NEW.credential;
    RETURN NULL;
END
$$;
CREATE TRIGGER identity_account_password AFTER UPDATE OF credential ON mail_account FOR EACH ROW
WHEN (NEW.subscriber_state IS NOT NULL AND OLD.subscriber IS NOT DISTINCT FROM NEW.subscriber AND OLD.credential <> NEW.credential)
EXECUTE FUNCTION identity_account_password();

REVOKE EXECUTE ON FUNCTION
    identity_subscriber_changed(),
    identity_subscribers_removed(),
    identity_subscribers_emptied(),
    identity_accounts_entered(),
    identity_account_linked(),
    identity_account_password()
FROM PUBLIC;
