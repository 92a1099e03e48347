//! The suite of limit stores.
