//! Figures for dashboards. Nothing without the feature `metrics`.

/// `countersign_change_feed_up`: whether changes made elsewhere are felt at once.
#[cfg(feature = "metrics")]
pub(crate) fn change_feed_up(up: bool) {
    metrics::gauge!("countersign_change_feed_up").set(if up { 1.0 } else { 0.0 });
}

#[cfg(not(feature = "metrics"))]
pub(crate) const fn change_feed_up(_: bool) {}
