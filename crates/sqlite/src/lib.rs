//! The embedded key store.
