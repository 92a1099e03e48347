//! A million keys in use: what the misses of the processor's caches cost.

use crate::support::drive;
use crate::support::figures::{Effort, median, tell};
use crate::support::keys::{self, Draw, Key};
use crate::support::ours::{self, Discard, Ours};
use http::StatusCode;

pub(crate) fn measure(effort: Effort) {
    let runtime = drive::runtime();
    let sets = [1000, 1_000_000].map(keys::generate);
    let start = |keys: &Vec<Key>| {
        let ours = runtime.block_on(Ours::new(keys, ours::slow(), Discard::default()));
        let router = ours.router();
        drive::warm(&runtime, &router, keys);
        (ours, router)
    };
    let stacks = sets.each_ref().map(start);
    let ratios = (0..effort.rounds).map(|_| {
        let mut times = [0.0, 0.0];
        for ((time, keys), (ours, router)) in times.iter_mut().zip(&sets).zip(&stacks) {
            ours.settle();
            let (mut draw, count) = (Draw::from(keys), effort.of(200_000));
            let total = drive::time(&runtime, router, &mut draw, StatusCode::OK, count);
            *time = total.as_secs_f64();
        }
        let [few, many] = times;
        many / few
    });
    tell("keys from 1 M ÷ from 1 k", median(ratios), "");
}
