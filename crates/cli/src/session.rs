//! The store, and who acts on it.

use std::sync::Arc;
use std::time::Duration;

use countersign::{
    Actor, Contract, Digester, KeyManager, KeyManagerBuilder, KeyStore, ParseError, ScopeRegistry,
    ScopeSet,
};

use crate::args::{Args, Command, CompaniesCommand};
use crate::error::CliError;
use crate::peppers::Peppers;
use crate::{contract, store};

pub(crate) struct Session {
    store: Arc<dyn KeyStore>,
    pub(crate) actor: Actor,
    pub(crate) manager: KeyManager,
    pub(crate) peppers: Peppers,
    rules: Rules,
}

/// What this platform allows beyond what every platform does.
#[derive(Default)]
struct Rules {
    contract: Option<Contract>,
    max_lifetime: Option<Duration>,
}

impl Session {
    pub(crate) async fn open(args: &Args) -> Result<Self, CliError> {
        let Some(store) = &args.store else {
            return Err(CliError::Failed(
                "say where keys are kept: --store sqlite:FILE or postgres://…, or COUNTERSIGN_STORE"
                    .to_owned(),
            ));
        };
        let actor = args.actor.as_deref().or_else(|| looks_only(&args.command));
        let Some(actor) = actor else {
            let problem = "say who you are, for the audit log: --actor NAME";
            return Err(CliError::Failed(problem.to_owned()));
        };
        let actor = operator(actor)?;
        let peppers = args.peppers.as_deref().map(Peppers::read).transpose()?;
        let peppers = peppers.unwrap_or_default();
        let rules = Rules {
            contract: args.contract.as_deref().map(contract::of).transpose()?,
            max_lifetime: args.max_lifetime,
        };
        let store = store::open(store, begins_a_store(&args.command)).await?;
        let manager = builder(&store, &peppers.digester, &rules).build()?;
        Ok(Self {
            store,
            actor,
            manager,
            peppers,
            rules,
        })
    }

    pub(crate) const fn contract(&self) -> Option<&Contract> {
        self.rules.contract.as_ref()
    }

    /// The scopes of these names. A wildcard is written out here, so that no key's record has one.
    pub(crate) fn scopes(&self, names: &[String]) -> Result<ScopeSet, CliError> {
        let registry = self.contract().and_then(Contract::registry);
        let mut scopes = ScopeSet::new();
        for name in names {
            if !name.ends_with('*') {
                let scope = name.parse();
                scopes.insert(
                    scope.map_err(|error: ParseError| {
                        CliError::Failed(format!("--scope: {error}"))
                    })?,
                );
                continue;
            }
            let registry = registry.ok_or_else(|| {
                let advice = "--scope: a wildcard stands for scopes of a list: name each scope, such as \
                              accounts:read, or a --contract that has x-countersign-scopes";
                CliError::Failed(advice.to_owned())
            })?;
            let all = registry.resolve([name.as_str()]);
            let all = all.map_err(|error| CliError::Refused(format!("--scope {error}")))?;
            all.iter().for_each(|scope| scopes.insert(scope));
        }
        Ok(scopes)
    }

    /// A manager whose new keys begin with `brand`.
    pub(crate) fn branded(&self, brand: &str) -> Result<KeyManager, CliError> {
        let builder = builder(&self.store, &self.peppers.digester, &self.rules);
        Ok(builder.brand(brand).build()?)
    }
}

/// The operator of this name.
pub(crate) fn operator(name: &str) -> Result<Actor, CliError> {
    Actor::operator(name).map_err(|error| CliError::Failed(format!("--actor NAME: {error}")))
}

fn builder(store: &Arc<dyn KeyStore>, digester: &Digester, rules: &Rules) -> KeyManagerBuilder {
    let mut builder = KeyManager::builder(Arc::clone(store)).digester(digester.clone());
    if let Some(contract) = &rules.contract {
        // A list says what exists; without one it is what endpoints ask for.
        let known = contract.registry().map(ScopeRegistry::scopes);
        builder = builder.known_scopes(known.unwrap_or_else(|| contract.scopes()));
    }
    if let Some(lifetime) = rules.max_lifetime {
        builder = builder.max_lifetime(lifetime);
    }
    builder
}

const fn begins_a_store(command: &Command) -> bool {
    matches!(command, Command::Companies(CompaniesCommand::Create { .. }))
}

/// The name that does for who changes nothing, and so is told to nobody.
const fn looks_only(command: &Command) -> Option<&'static str> {
    match command.answers_alone() {
        true => Some("somebody"),
        false => None,
    }
}
