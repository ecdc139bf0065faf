//! DNS on the wire: queries parsed with limits, answers from a cache without allocating.
