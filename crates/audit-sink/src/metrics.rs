//! `countersign_requests_total` and `countersign_request_seconds`: one reading for each outcome
//! event, so that no refusal is missed. Nothing without the feature `metrics`.

#[cfg(feature = "metrics")]
mod enabled {
    use crate::AuditEvent;

    pub(crate) fn count(event: &AuditEvent) {
        let decision = event.decision().map_or("", crate::Decision::as_str);
        let reason = event.denial_reason();
        let route = event.route().unwrap_or_default().to_owned();
        metrics::counter!(
            "countersign_requests_total",
            "decision" => decision,
            "reason" => reason,
            "route" => route.clone(),
        )
        .increment(1);
        let seconds = event.latency_us().unwrap_or_default() as f64 / 1e6;
        metrics::histogram!("countersign_request_seconds", "decision" => decision, "route" => route)
            .record(seconds);
    }
}

#[cfg(not(feature = "metrics"))]
mod disabled {
    pub(crate) const fn count(_: &crate::AuditEvent) {}
}

#[cfg(not(feature = "metrics"))]
pub(crate) use disabled::count;
#[cfg(feature = "metrics")]
pub(crate) use enabled::count;

pub(crate) const ENABLED: bool = cfg!(feature = "metrics");
