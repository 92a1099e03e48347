//! What an operation says of itself beside its scope: `x-countersign-*` and `deprecated`.

use std::num::NonZeroU32;
use std::time::Duration;

use countersign_core::{
    Deprecation, Endpoint, OperationType, Quota, Sensitivity, Stage, Timestamp,
};

use super::error::{Faults, child};
use super::node::Node;

/// Gives `endpoint` what `operation` says of it.
pub(super) fn apply(
    mut endpoint: Endpoint,
    operation: &Node,
    at: &str,
    faults: &mut Faults,
) -> Option<Endpoint> {
    let mut reader = Extensions {
        operation,
        at,
        faults,
    };
    if let Some(operation) = reader.one_of(OPERATION, &OPERATIONS, OperationType::as_str) {
        endpoint = endpoint.with_operation(operation);
    }
    if let Some(Sensitivity::Sensitive) =
        reader.one_of(SENSITIVITY, &SENSITIVITIES, Sensitivity::as_str)
    {
        endpoint = endpoint.sensitive();
    }
    if let Some(cost) = reader.cost() {
        endpoint = endpoint.cost(cost);
    }
    if let Some(quota) = reader.limit() {
        endpoint = endpoint.limit(quota);
    }
    reader.stage(endpoint)
}

struct Extensions<'a, 'f> {
    operation: &'a Node,
    at: &'a str,
    faults: &'f mut Faults,
}

impl Extensions<'_, '_> {
    fn one_of<T: Copy>(
        &mut self,
        name: &str,
        all: &[T],
        text: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let node = self.operation.get(name)?;
        let found = all.iter().find(|it| node.as_text() == Some(text(**it)));
        if let Some(found) = found {
            return Some(*found);
        }
        let names: Vec<_> = all.iter().map(|it| text(*it)).collect();
        let advice = format!("it is one of {}", names.join(", "));
        self.faults.add(&child(self.at, name), advice)
    }

    fn cost(&mut self) -> Option<NonZeroU32> {
        let node = self.operation.get(COST)?;
        let cost = node.as_u64().and_then(|cost| u32::try_from(cost).ok());
        let advice = "a cost is a whole number from 1 on";
        cost.and_then(NonZeroU32::new)
            .or_else(|| self.faults.add(&child(self.at, COST), advice))
    }

    fn limit(&mut self) -> Option<Quota> {
        let node = self.operation.get(LIMIT)?;
        let known = |name| matches!(name, "burst" | "refill" | "seconds");
        let number = |name: &str| match node.get(name) {
            None if name == "seconds" => Some(1),
            member => u32::try_from(member?.as_u64()?).ok(),
        };
        let quota = || {
            let only = node.as_map()?.keys().all(|name| known(name));
            let period = Duration::from_secs(number("seconds")?.into());
            let (burst, refill) = (number("burst")?, number("refill")?);
            only.then(|| Quota::per(burst, refill, period).ok())?
        };
        let advice = "a limit is {burst: 20, refill: 5, seconds: 60}: so many at once, then so \
                      many in so many seconds, refilled within 400 days";
        quota().or_else(|| self.faults.add(&child(self.at, LIMIT), advice))
    }

    fn stage(&mut self, endpoint: Endpoint) -> Option<Endpoint> {
        let marked = self.operation.get("deprecated") == Some(&Node::Bool(true));
        let stage = self.one_of(STAGE, &Stage::ALL, Stage::as_str);
        let stage = match stage {
            None if marked => Stage::Deprecated,
            None => Stage::Ga,
            Some(Stage::Draft | Stage::Beta | Stage::Ga) if marked => {
                let advice = "it is deprecated by another member: leave one of the two out";
                return self.faults.add(&child(self.at, STAGE), advice);
            }
            Some(stage) => stage,
        };
        let since = match self.operation.get(DEPRECATION) {
            None => None,
            Some(node) => Some(self.deprecation(node)?),
        };
        match (stage, since) {
            (Stage::Deprecated, Some(since)) => Some(endpoint.deprecated(since)),
            (Stage::Retired, Some(since)) => Some(endpoint.deprecated(since).retired()),
            (Stage::Deprecated, None) => {
                let advice = "it is deprecated: say since when, and until when if you know, with \
                              x-countersign-deprecation: {since: 2026-10-01T00:00:00Z, sunset: …, \
                              link: …}";
                self.faults.add(self.at, advice)
            }
            (_, Some(_)) => {
                let advice = "it says since when, and the endpoint is not deprecated: add \
                              `deprecated: true`";
                self.faults.add(&child(self.at, DEPRECATION), advice)
            }
            (Stage::Retired, None) => Some(endpoint.retired()),
            (Stage::Beta, None) => Some(endpoint.beta()),
            (Stage::Draft, None) => Some(endpoint.draft()),
            // `Stage` may grow: a stage that nobody reads here must not open an endpoint.
            (Stage::Ga, None) => Some(endpoint),
            (_, None) => self
                .faults
                .add(&child(self.at, STAGE), "it is not known here"),
        }
    }

    fn deprecation(&mut self, node: &Node) -> Option<Deprecation> {
        let at = child(self.at, DEPRECATION);
        let unknown = node.members().find(|(name, _)| !DATES.contains(name));
        if let Some((name, _)) = unknown {
            let advice = "its members are since, sunset and link";
            return self.faults.add(&child(&at, name), advice);
        }
        let mut time = |name: &str| match node.get(name) {
            None => Some(None),
            Some(time) => match time
                .as_text()
                .and_then(|time| time.parse::<Timestamp>().ok())
            {
                Some(time) => Some(Some(time)),
                None => {
                    let advice = "a time is RFC 3339, in quotation marks: \"2026-10-01T00:00:00Z\"";
                    self.faults.add(&child(&at, name), advice)
                }
            },
        };
        let (since, sunset) = (time("since")?, time("sunset")?);
        let Some(since) = since else {
            let advice = "say since when it is deprecated: since: \"2026-10-01T00:00:00Z\"";
            return self.faults.add(&at, advice);
        };
        let mut deprecation = Deprecation::since(since);
        if let Some(sunset) = sunset {
            deprecation = deprecation
                .with_sunset(sunset)
                .map_err(|error| {
                    self.faults
                        .add::<()>(&child(&at, "sunset"), error.to_string())
                })
                .ok()?;
        }
        if let Some(link) = node.get("link") {
            deprecation = deprecation
                .with_link(link.as_text().unwrap_or_default())
                .map_err(|error| {
                    self.faults
                        .add::<()>(&child(&at, "link"), error.to_string())
                })
                .ok()?;
        }
        Some(deprecation)
    }
}

/// The extensions of `endpoint`, so that reading them again gives the same endpoint.
pub(super) fn describe(endpoint: &Endpoint) -> Result<Vec<(&'static str, Node)>, &'static str> {
    let mut members = vec![(OPERATION, Node::from(endpoint.operation().as_str()))];
    if endpoint.sensitivity() == Sensitivity::Sensitive {
        members.push((SENSITIVITY, endpoint.sensitivity().as_str().into()));
    }
    if endpoint.call_cost() != NonZeroU32::MIN {
        members.push((COST, endpoint.call_cost().get().into()));
    }
    if let Some(quota) = endpoint.quota() {
        members.push((LIMIT, describe_limit(quota)?));
    }
    if endpoint.stage() != Stage::Ga {
        members.push((STAGE, endpoint.stage().as_str().into()));
    }
    if let Some(deprecation) = endpoint.deprecation() {
        members.push((DEPRECATION, describe_deprecation(deprecation)));
    }
    Ok(members)
}

fn describe_limit(quota: Quota) -> Result<Node, &'static str> {
    let interval = quota.interval_nanos();
    for seconds in [1, 60, 3600, 86_400, 400 * 86_400] {
        let period = u64::from(seconds) * 1_000_000_000;
        let refill = u32::try_from((period + interval / 2) / interval).unwrap_or(0);
        let period = Duration::from_nanos(period);
        if Quota::per(quota.burst(), refill, period) == Ok(quota) {
            let members = [
                ("burst", quota.burst()),
                ("refill", refill),
                ("seconds", seconds),
            ];
            return Ok(super::node::map(members.map(|(n, v)| (n, v.into()))));
        }
    }
    Err("its limit can't be said as so many units in a second, minute, hour or day")
}

fn describe_deprecation(deprecation: &Deprecation) -> Node {
    let sunset = deprecation.sunset().map(|time| time.to_string());
    let members = [
        ("since", Some(deprecation.deprecated_at().to_string())),
        ("sunset", sunset),
        ("link", deprecation.link().map(str::to_owned)),
    ];
    let given = members.into_iter();
    super::node::map(given.filter_map(|(name, text)| Some((name, text?.into()))))
}

pub(super) const STAGE: &str = "x-countersign-stage";
const OPERATION: &str = "x-countersign-operation";
const SENSITIVITY: &str = "x-countersign-sensitivity";
const COST: &str = "x-countersign-cost";
const LIMIT: &str = "x-countersign-limit";
const DEPRECATION: &str = "x-countersign-deprecation";

const DATES: &[&str] = &["since", "sunset", "link"];
const SENSITIVITIES: [Sensitivity; 2] = [Sensitivity::Normal, Sensitivity::Sensitive];
const OPERATIONS: [OperationType; 4] = [
    OperationType::Read,
    OperationType::Write,
    OperationType::Webhook,
    OperationType::Administration,
];
