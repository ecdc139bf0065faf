-- An account is linked with the subscriber of a name when it comes to name one who is there. What was said of one before is a note, as it
-- is where subscribers lie elsewhere: nobody's password changes as a table is made.
--
-- Where a subscriber takes any password, which is for access that is known by its line alone, the account takes none.

CREATE TRIGGER identity_subscriber_changed AFTER UPDATE OF name, credential, disabled ON radius_subscriber
WHEN OLD.name <> NEW.name OR OLD.credential <> NEW.credential OR OLD.disabled <> NEW.disabled BEGIN
    UPDATE mail_account SET subscriber = NEW.name
    WHERE OLD.name <> NEW.name AND subscriber = OLD.name AND subscriber_state IS NOT NULL;
    UPDATE mail_account SET
        credential = CASE WHEN substr(upper(NEW.credential), 1, 4) = '{ANY' THEN '' ELSE NEW.credential END,
        scram = NULL
    WHERE OLD.credential <> NEW.credential AND subscriber = NEW.name AND subscriber_state IS NOT NULL
        AND credential <> CASE WHEN substr(upper(NEW.credential), 1, 4) = '{ANY' THEN '' ELSE NEW.credential END;
    UPDATE mail_account SET subscriber_state = NEW.disabled
    WHERE subscriber = NEW.name AND subscriber_state IS NOT NULL AND subscriber_state <> NEW.disabled;
END;

-- Who is entered under that name one day may be another person.
CREATE TRIGGER identity_subscriber_removed AFTER DELETE ON radius_subscriber BEGIN
    UPDATE mail_account SET subscriber = NULL WHERE subscriber = OLD.name AND subscriber_state IS NOT NULL;
END;

CREATE TRIGGER identity_account_entered AFTER INSERT ON mail_account WHEN NEW.subscriber IS NOT NULL BEGIN
    UPDATE mail_account SET
        credential = (
            SELECT CASE WHEN substr(upper(s.credential), 1, 4) = '{ANY' THEN '' ELSE s.credential END
            FROM radius_subscriber AS s WHERE s.name = NEW.subscriber
        ),
        scram = NULL
    WHERE id = NEW.id AND EXISTS (
        SELECT 1 FROM radius_subscriber AS s WHERE s.name = NEW.subscriber
            AND mail_account.credential <> CASE WHEN substr(upper(s.credential), 1, 4) = '{ANY' THEN '' ELSE s.credential END
    );
    UPDATE mail_account SET subscriber_state = (SELECT s.disabled FROM radius_subscriber AS s WHERE s.name = NEW.subscriber)
    WHERE id = NEW.id;
END;

CREATE TRIGGER identity_account_linked AFTER UPDATE OF subscriber ON mail_account WHEN OLD.subscriber IS NOT NEW.subscriber BEGIN
    UPDATE mail_account SET
        credential = (
            SELECT CASE WHEN substr(upper(s.credential), 1, 4) = '{ANY' THEN '' ELSE s.credential END
            FROM radius_subscriber AS s WHERE s.name = NEW.subscriber
        ),
        scram = NULL
    WHERE id = NEW.id AND EXISTS (
        SELECT 1 FROM radius_subscriber AS s WHERE s.name = NEW.subscriber
            AND mail_account.credential <> CASE WHEN substr(upper(s.credential), 1, 4) = '{ANY' THEN '' ELSE s.credential END
    );
    UPDATE mail_account SET subscriber_state = (SELECT s.disabled FROM radius_subscriber AS s WHERE s.name = NEW.subscriber)
    WHERE id = NEW.id;
END;

CREATE TRIGGER identity_account_password AFTER UPDATE OF credential ON mail_account
WHEN NEW.subscriber_state IS NOT NULL AND OLD.subscriber IS NEW.subscriber AND OLD.credential <> NEW.credential BEGIN
    UPDATE radius_subscriber SET credential = NEW.credential
    WHERE name = NEW.subscriber AND credential <> NEW.credential
        AND substr(upper(credential), 1, 4) <> '{ANY';
END;
