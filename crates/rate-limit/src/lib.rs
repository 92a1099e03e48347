//! Layered rate limits for outside callers: GCRA, all-or-nothing decisions, a local store, and a throttle for failed authentications.
