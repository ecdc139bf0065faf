//! DNSSEC validation as pure functions: signatures, chains and denials, within a budget.
