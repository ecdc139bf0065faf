-- Who may have something for good by his reply items is asked for at each start; few have.
CREATE INDEX radius_subscriber_owns ON radius_subscriber (name)
WHERE (lower(reply_items) LIKE '%framed-ip%' OR lower(reply_items) LIKE '%delegated-ip%' OR lower(reply_items) LIKE '%attr-%');
