//! The scripts of an export answer as the commands of this program do, whatever was done to a log
//! or to a proof: the same exit code over the same files.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log;
mod logs;
mod proofs;
mod verifiers;

use std::process::Command;
use std::sync::Mutex;

use self::log::{Log, Proof};
use self::verifiers::{Verdict, Verifiers, scripts};

/// A damage, by its name; the exit code that it has; what it does.
type Row<T> = (&'static str, i32, fn(&T));

#[test]
fn a_damaged_log_has_one_verdict() {
    at_once(logs::DAMAGES, |verifiers, (name, code, damage)| {
        let log = Log::new();
        damage(&log);
        expect(name, Some(*code), &verifiers.verify(&log))
    });
}

#[test]
fn a_damaged_proof_has_one_verdict() {
    at_once(proofs::DAMAGES, |verifiers, (name, code, damage)| {
        let proof = Proof::new();
        damage(&proof);
        expect(name, Some(*code), &verifiers.check(&proof))
    });
}

/// Bytes that are changed, added or lost somewhere.
#[test]
fn chance_damages_have_one_verdict() {
    let seeds: Vec<u64> = (0..48).collect();
    at_once(&seeds, |verifiers, seed| {
        let mut chance = Chance(*seed);
        let verdicts = if seed % 2 == 0 {
            let log = Log::new();
            let file = chance.one_of(&log.files());
            log.change(&file, |bytes| chance.damage(bytes));
            verifiers.verify(&log)
        } else {
            let proof = Proof::new();
            let file = chance.one_of(&["vkey", "event", "proof", "proof", "proof"]);
            proof.change(file, |bytes| chance.damage(bytes));
            verifiers.check(&proof)
        };
        expect(&format!("seed {seed}"), None, &verdicts)
    });
}

#[test]
fn a_script_that_checked_nothing_says_so() {
    for (program, script) in [("python3", "verify.py"), ("sh", "verify.sh")] {
        for arguments in [&[][..], &["proof"], &["/gone", "/gone", "/gone"]] {
            let mut command = Command::new(program);
            command.arg(scripts().join(script)).args(arguments);
            let ran = command.output().unwrap();
            assert_eq!(ran.status.code(), Some(2), "{script} {arguments:?}");
            assert!(ran.stdout.is_empty());
        }
    }
}

/// What is wrong with these verdicts: they differ, or are not the expected one.
fn expect(name: &str, code: Option<i32>, verdicts: &[Verdict]) -> Option<String> {
    let code = code.unwrap_or(verdicts[0].0);
    let wrong = verdicts.iter().any(|(verdict, _)| *verdict != code);
    wrong.then(|| format!("{name}: {code} is expected of {verdicts:?}"))
}

/// Runs all, some at a time, and tells of every one that fails.
fn at_once<T: Sync>(all: &[T], run: impl Fn(&mut Verifiers, &T) -> Option<String> + Sync) {
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for part in all.chunks(all.len().div_ceil(4)) {
            let (failed, run) = (&failed, &run);
            scope.spawn(move || {
                let mut verifiers = Verifiers::new();
                for one in part {
                    let problem = run(&mut verifiers, one);
                    failed.lock().unwrap().extend(problem);
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Numbers that look random and are the same each time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end.max(1) as u64) as usize
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn damage(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = self.below(bytes.len());
        match self.below(4) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, self.one_of(b"\n\r \0=A\xff")),
            _ => bytes.truncate(at),
        }
        bytes
    }
}
