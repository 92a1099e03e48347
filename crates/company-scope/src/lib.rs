//! Whose data a request may touch: company scope as a capability, and checks of what callers claim.
