//! A private Internet: signed and unsigned zones, and servers that behave or do not.
