-- Beside sessions, credits fill the log: what is left is what people change.
CREATE INDEX radius_change_of_people ON radius_change (xact) WHERE kind <> 'session' AND kind <> 'credit';
