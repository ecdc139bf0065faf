-- Sessions fill the log; whoever looks for what people changed does not read through them.
CREATE INDEX radius_change_rare ON radius_change (sequence) WHERE kind <> 'session';
