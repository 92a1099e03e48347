//! One call of the script, about one request or several.

use std::collections::HashMap;

use countersign_core::StoreError;
use countersign_rate_limit::gcra::decide;
use redis::{Cmd, Value};

use crate::draw::{Draw, NANOS, Said, number, pack};
use crate::error::corrupt;
use crate::script::Script;

/// The counters of some draws, each once.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    draws: &'a [&'a Draw],
    keys: Vec<&'a str>,
    /// For each draw the places of its counters among the keys.
    places: Vec<Vec<usize>>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(draws: &'a [&'a Draw]) -> Self {
        let (mut keys, mut known) = (Vec::new(), HashMap::new());
        let mut place = |key: &'a String| {
            *known.entry(key.as_str()).or_insert_with(|| {
                keys.push(key.as_str());
                keys.len() - 1
            })
        };
        let places = draws
            .iter()
            .map(|draw| draw.keys.iter().map(&mut place).collect());
        let places = places.collect();
        Self {
            draws,
            keys,
            places,
        }
    }

    /// The call that makes the draws, each of them whole or not at all.
    pub(crate) fn call(&self, script: &Script) -> Cmd {
        let mut call = script.call(self.keys.len());
        for key in &self.keys {
            call.arg(*key);
        }
        let mut packed = Vec::with_capacity(self.keys.len() * 64);
        for (draw, places) in self.draws.iter().zip(&self.places) {
            packed.extend_from_slice(&(draw.parts.len() as f64).to_le_bytes());
            for (part, place) in draw.parts.iter().zip(places) {
                // Scripts count from 1.
                packed.extend_from_slice(&((place + 1) as f64).to_le_bytes());
                pack(&mut packed, part.times());
            }
        }
        call.arg(packed);
        call
    }

    /// Reads the script's answer: what it said about each draw.
    ///
    /// # Errors
    /// `Corrupt` when it is none. A draw's own answer is `Corrupt` when what stands in its counter is
    /// no number, or when the server's arithmetic and ours disagree.
    pub(crate) fn read(&self, answer: Value) -> Result<Vec<Result<Said, StoreError>>, StoreError> {
        let Value::Array(answer) = answer else {
            return Err(corrupt());
        };
        let [seconds, micros, taken, held] = &answer[..] else {
            return Err(corrupt());
        };
        let seconds = number(seconds).and_then(|seconds| seconds.checked_mul(NANOS));
        let nanos = number(micros).and_then(|micros| micros.checked_mul(1000));
        let now = seconds.zip(nanos).and_then(|(s, n)| s.checked_add(n));
        self.read_at(now.ok_or_else(corrupt)?, taken, held)
    }

    pub(crate) fn read_at(
        &self,
        now: u64,
        taken: &Value,
        held: &Value,
    ) -> Result<Vec<Result<Said, StoreError>>, StoreError> {
        let (Value::BulkString(taken), Value::Array(held)) = (taken, held) else {
            return Err(corrupt());
        };
        if taken.len() != self.draws.len() || held.len() != self.keys.len() {
            return Err(corrupt());
        }
        let mut tats: Vec<Option<u64>> = held.iter().map(number).collect();
        let places = self.draws.iter().zip(&self.places).zip(taken);
        let said = places.map(|((draw, places), taken)| {
            let said = Said {
                now,
                taken: *taken == b'1',
                tats: places
                    .iter()
                    .map(|place| tats[*place])
                    .collect::<Option<_>>()
                    .ok_or_else(corrupt)?,
            };
            if said.taken != said.fits(draw) {
                return Err(corrupt());
            }
            for ((part, place), tat) in draw.parts.iter().zip(places).zip(&said.tats) {
                let units = part.drawn(*tat, now);
                if said.taken && units > 0 {
                    tats[*place] = Some(decide(*tat, now, part.quota, units).new_tat);
                }
            }
            Ok(said)
        });
        Ok(said.collect())
    }
}
