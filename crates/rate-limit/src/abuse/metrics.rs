//! `countersign_abuse_signals_total`, by kind and reaction. Nothing without the feature `metrics`.

use countersign_core::AbuseSignal;

#[cfg(feature = "metrics")]
pub(super) fn count(signal: &AbuseSignal) {
    metrics::counter!(
        "countersign_abuse_signals_total",
        "kind" => signal.kind.as_str(),
        "reaction" => signal.reaction.as_str(),
    )
    .increment(1);
}

#[cfg(not(feature = "metrics"))]
pub(super) const fn count(_: &AbuseSignal) {}
