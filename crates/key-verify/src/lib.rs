//! API keys for outside companies.
mod record;
mod store;
