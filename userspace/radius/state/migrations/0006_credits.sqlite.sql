-- What prepaid subscribers use up fills the log as sessions do; it is no news of who they are. Whether somebody is one is.
DROP TRIGGER radius_subscriber_updated;
CREATE TRIGGER radius_subscriber_updated
AFTER UPDATE OF name, credential, profiles, disabled, not_before, not_after, simultaneous, check_items, reply_items, address,
    prefix6, delegated6, pool, pool6, delegated_pool6, note ON radius_subscriber BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('subscriber', NEW.name);
    INSERT INTO radius_change (kind, name) SELECT 'subscriber', OLD.name WHERE OLD.name <> NEW.name;
END;
CREATE TRIGGER radius_subscriber_charged AFTER UPDATE OF credit_seconds, credit_bytes ON radius_subscriber
WHEN OLD.credit_seconds IS NOT NEW.credit_seconds OR OLD.credit_bytes IS NOT NEW.credit_bytes BEGIN
    INSERT INTO radius_change (kind, name) SELECT
        CASE
            WHEN (OLD.credit_seconds IS NULL) = (NEW.credit_seconds IS NULL) AND (OLD.credit_bytes IS NULL) = (NEW.credit_bytes IS NULL)
            THEN 'credit'
            ELSE 'subscriber'
        END,
        NEW.name;
END;
-- Who may have something for good by his reply items is asked for at each start; few have.
CREATE INDEX radius_subscriber_owns ON radius_subscriber (name)
WHERE (lower(reply_items) LIKE '%framed-ip%' OR lower(reply_items) LIKE '%delegated-ip%' OR lower(reply_items) LIKE '%attr-%');
