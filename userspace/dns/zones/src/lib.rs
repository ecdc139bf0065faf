//! Local data: zones from zone files, private zones, and block lists for mail filters.
