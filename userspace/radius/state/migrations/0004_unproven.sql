-- Whether a session's NAS alone says that it has what it has of pools: nobody was offered it, and its user is no subscriber, or has
-- too much by such words already. Such a session keeps nothing from others.
ALTER TABLE radius_session ADD COLUMN unproven BIGINT NOT NULL DEFAULT 0;
-- How much somebody has already.
CREATE INDEX radius_lease_user ON radius_lease (user_name);
