-- What prepaid subscribers use up fills the log as sessions do; it is no news of who they are.
DROP TRIGGER radius_subscriber_updated;
CREATE TRIGGER radius_subscriber_updated
AFTER UPDATE OF name, credential, profiles, disabled, not_before, not_after, simultaneous, check_items, reply_items, address,
    prefix6, delegated6, pool, pool6, delegated_pool6, note ON radius_subscriber BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('subscriber', NEW.name);
    INSERT INTO radius_change (kind, name) SELECT 'subscriber', OLD.name WHERE OLD.name <> NEW.name;
END;
CREATE TRIGGER radius_subscriber_charged AFTER UPDATE OF credit_seconds, credit_bytes ON radius_subscriber BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('credit', NEW.name);
END;
CREATE INDEX radius_change_of_people ON radius_change (sequence) WHERE kind <> 'session' AND kind <> 'credit';
