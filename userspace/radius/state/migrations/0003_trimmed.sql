-- The ranges by which a block's owner gives out of it, as one number, where it has nothing of the block besides: what of it
-- left the pool is nobody's there. 0 if that is not known.
ALTER TABLE radius_block ADD COLUMN trimmed BIGINT NOT NULL DEFAULT 0;
