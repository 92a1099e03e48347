//! `cargo xtask drill`: the promises about revocation, crashes, outages and a fleet's limits, held against real
//! processes.

mod audit;
mod figures;
mod fleet;
mod flood;
mod http;
mod kill;
mod load;
mod outage;
mod processes;
mod proxy;
mod revocation;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

pub(crate) use self::fleet::run_node;
use self::processes::Programs;
use crate::workspace::Workspace;

/// How much of a drill is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// What the promise says.
    Full,
    /// Enough to notice that it is broken, in the time that every check may take.
    Short,
}

impl Scale {
    const fn of<T: Copy>(self, full: T, short: T) -> T {
        match self {
            Self::Full => full,
            Self::Short => short,
        }
    }
}

/// Runs one drill, or `all` of them, and stops at the first that fails.
///
/// # Errors
/// When a promise is broken; the message says which.
pub(crate) fn run(name: &str, scale: Scale) -> Result<ExitCode> {
    let drills: Vec<_> = DRILLS
        .into_iter()
        .filter(|(drill, _)| name == "all" || name == *drill)
        .collect();
    if drills.is_empty() {
        let names = DRILLS.map(|(name, _)| name).join(", ");
        bail!("there is no such drill; there are {names}, and all");
    }
    let mut programs = None;
    for (name, drill) in drills {
        println!("==> drill {name}");
        let started = Instant::now();
        match drill {
            Drill::Programs(drill) => {
                let built = match programs.take() {
                    Some(built) => built,
                    None => Programs::build(&Workspace::load()?)?,
                };
                drill(programs.insert(built), scale)?;
            }
            Drill::Alone(drill) => drill(scale)?,
        }
        let seconds = started.elapsed().as_secs_f32();
        println!("    drill {name}: ok, {seconds:.1} s");
    }
    Ok(ExitCode::SUCCESS)
}

/// What a drill needs.
#[derive(Clone, Copy)]
enum Drill {
    /// The example service and the command line.
    Programs(fn(&Programs, Scale) -> Result<()>),
    /// Nothing but this program.
    Alone(fn(Scale) -> Result<()>),
}

const DRILLS: [(&str, Drill); 5] = [
    ("revocation", Drill::Programs(revocation::run)),
    ("kill", Drill::Programs(kill::run)),
    ("outage", Drill::Programs(outage::run)),
    ("fleet", Drill::Alone(fleet::run)),
    ("flood", Drill::Alone(flood::run)),
];
