-- The log of changes and what fills it, so that nobody has to remember to. There is one writer at
-- a time, so the order of the numbers is the order of the commits.
CREATE TABLE mail_change (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;
CREATE INDEX mail_change_at ON mail_change (at);

CREATE TRIGGER mail_account_inserted AFTER INSERT ON mail_account BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('account', CAST(NEW.id AS TEXT));
END;
CREATE TRIGGER mail_account_updated AFTER UPDATE ON mail_account BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('account', CAST(NEW.id AS TEXT));
    INSERT INTO mail_change (kind, name) SELECT 'account', CAST(OLD.id AS TEXT) WHERE OLD.id <> NEW.id;
END;
CREATE TRIGGER mail_account_deleted AFTER DELETE ON mail_account BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('account', CAST(OLD.id AS TEXT));
END;

CREATE TRIGGER mail_app_password_inserted AFTER INSERT ON mail_app_password BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('account', CAST(NEW.account AS TEXT));
END;
CREATE TRIGGER mail_app_password_updated AFTER UPDATE ON mail_app_password BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('account', CAST(NEW.account AS TEXT));
    INSERT INTO mail_change (kind, name) SELECT 'account', CAST(OLD.account AS TEXT) WHERE OLD.account <> NEW.account;
END;
CREATE TRIGGER mail_app_password_deleted AFTER DELETE ON mail_app_password BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('account', CAST(OLD.account AS TEXT));
END;

CREATE TRIGGER mail_forward_inserted AFTER INSERT ON mail_forward BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('account', CAST(NEW.account AS TEXT));
END;
CREATE TRIGGER mail_forward_updated AFTER UPDATE ON mail_forward BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('account', CAST(NEW.account AS TEXT));
    INSERT INTO mail_change (kind, name) SELECT 'account', CAST(OLD.account AS TEXT) WHERE OLD.account <> NEW.account;
END;
CREATE TRIGGER mail_forward_deleted AFTER DELETE ON mail_forward BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('account', CAST(OLD.account AS TEXT));
END;

CREATE TRIGGER mail_alias_inserted AFTER INSERT ON mail_alias BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('alias', NEW.name);
END;
CREATE TRIGGER mail_alias_updated AFTER UPDATE ON mail_alias BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('alias', NEW.name);
    INSERT INTO mail_change (kind, name) SELECT 'alias', OLD.name WHERE OLD.name <> NEW.name;
END;
CREATE TRIGGER mail_alias_deleted AFTER DELETE ON mail_alias BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('alias', OLD.name);
END;

CREATE TRIGGER mail_domain_inserted AFTER INSERT ON mail_domain BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('domain', NEW.name);
END;
CREATE TRIGGER mail_domain_updated AFTER UPDATE ON mail_domain BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('domain', NEW.name);
    INSERT INTO mail_change (kind, name) SELECT 'domain', OLD.name WHERE OLD.name <> NEW.name;
END;
CREATE TRIGGER mail_domain_deleted AFTER DELETE ON mail_domain BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('domain', OLD.name);
END;

CREATE TRIGGER mail_backend_inserted AFTER INSERT ON mail_backend BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('backend', NEW.name);
END;
CREATE TRIGGER mail_backend_updated AFTER UPDATE ON mail_backend BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('backend', NEW.name);
    INSERT INTO mail_change (kind, name) SELECT 'backend', OLD.name WHERE OLD.name <> NEW.name;
END;
CREATE TRIGGER mail_backend_deleted AFTER DELETE ON mail_backend BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('backend', OLD.name);
END;

CREATE TRIGGER mail_shard_inserted AFTER INSERT ON mail_shard BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('shard', NEW.name);
END;
CREATE TRIGGER mail_shard_updated AFTER UPDATE ON mail_shard BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('shard', NEW.name);
    INSERT INTO mail_change (kind, name) SELECT 'shard', OLD.name WHERE OLD.name <> NEW.name;
END;
CREATE TRIGGER mail_shard_deleted AFTER DELETE ON mail_shard BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('shard', OLD.name);
END;

CREATE TRIGGER mail_dkim_key_inserted AFTER INSERT ON mail_dkim_key BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('dkim_key', NEW.domain);
END;
CREATE TRIGGER mail_dkim_key_updated AFTER UPDATE ON mail_dkim_key BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('dkim_key', NEW.domain);
    INSERT INTO mail_change (kind, name) SELECT 'dkim_key', OLD.domain WHERE OLD.domain <> NEW.domain;
END;
CREATE TRIGGER mail_dkim_key_deleted AFTER DELETE ON mail_dkim_key BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('dkim_key', OLD.domain);
END;

CREATE TRIGGER mail_setting_inserted AFTER INSERT ON mail_setting BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('setting', NEW.name);
END;
CREATE TRIGGER mail_setting_updated AFTER UPDATE ON mail_setting BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('setting', NEW.name);
    INSERT INTO mail_change (kind, name) SELECT 'setting', OLD.name WHERE OLD.name <> NEW.name;
END;
CREATE TRIGGER mail_setting_deleted AFTER DELETE ON mail_setting BEGIN
    INSERT INTO mail_change (kind, name) VALUES ('setting', OLD.name);
END;
