-- The log of changes and what fills it, so that nobody has to remember to. There is one writer at
-- a time, so the order of the numbers is the order of the commits.
CREATE TABLE radius_change (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;
CREATE INDEX radius_change_at ON radius_change (at);

CREATE TRIGGER radius_subscriber_inserted AFTER INSERT ON radius_subscriber BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('subscriber', NEW.name);
END;
CREATE TRIGGER radius_subscriber_updated AFTER UPDATE ON radius_subscriber BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('subscriber', NEW.name);
    INSERT INTO radius_change (kind, name) SELECT 'subscriber', OLD.name WHERE OLD.name <> NEW.name;
END;
CREATE TRIGGER radius_subscriber_deleted AFTER DELETE ON radius_subscriber BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('subscriber', OLD.name);
END;

CREATE TRIGGER radius_profile_inserted AFTER INSERT ON radius_profile BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('profile', NEW.name);
END;
CREATE TRIGGER radius_profile_updated AFTER UPDATE ON radius_profile BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('profile', NEW.name);
    INSERT INTO radius_change (kind, name) SELECT 'profile', OLD.name WHERE OLD.name <> NEW.name;
END;
CREATE TRIGGER radius_profile_deleted AFTER DELETE ON radius_profile BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('profile', OLD.name);
END;

CREATE TRIGGER radius_nas_inserted AFTER INSERT ON radius_nas BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('nas', NEW.prefix);
END;
CREATE TRIGGER radius_nas_updated AFTER UPDATE ON radius_nas BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('nas', NEW.prefix);
END;
CREATE TRIGGER radius_nas_deleted AFTER DELETE ON radius_nas BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('nas', OLD.prefix);
END;

CREATE TRIGGER radius_pool_inserted AFTER INSERT ON radius_pool BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('pool', NEW.name);
END;
-- That one is wanted is no change of it.
CREATE TRIGGER radius_pool_updated
AFTER UPDATE OF name, length, block, lease_seconds, offer_seconds ON radius_pool BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('pool', NEW.name);
END;
CREATE TRIGGER radius_pool_deleted AFTER DELETE ON radius_pool BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('pool', OLD.name);
END;
CREATE TRIGGER radius_pool_range_inserted AFTER INSERT ON radius_pool_range BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('pool', NEW.pool);
END;
CREATE TRIGGER radius_pool_range_updated AFTER UPDATE ON radius_pool_range BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('pool', NEW.pool);
END;
CREATE TRIGGER radius_pool_range_deleted AFTER DELETE ON radius_pool_range BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('pool', OLD.pool);
END;

CREATE TRIGGER radius_session_inserted AFTER INSERT ON radius_session BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('session', lower(hex(NEW.id)));
END;
CREATE TRIGGER radius_session_updated AFTER UPDATE ON radius_session
WHEN OLD.state <> NEW.state BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('session', lower(hex(NEW.id)));
END;
CREATE TRIGGER radius_session_deleted AFTER DELETE ON radius_session
WHEN OLD.state = 0 BEGIN
    INSERT INTO radius_change (kind, name) VALUES ('session', lower(hex(OLD.id)));
END;
