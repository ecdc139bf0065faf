-- Where the case of letters tells nobody apart; of ASCII's letters alone.
CREATE INDEX radius_subscriber_credit ON radius_subscriber (lower(name COLLATE "C"))
WHERE credit_seconds IS NOT NULL OR credit_bytes IS NOT NULL;
