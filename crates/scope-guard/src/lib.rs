//! The external contract: which endpoints outside callers may use, with which scope, and which targets are refused.
