//! `countersign companies …`

use countersign::{CompanyId, CompanyRecord, ManageError};

use crate::args::CompaniesCommand;
use crate::error::CliError;
use crate::output::Output;
use crate::session::Session;

pub(crate) async fn run(
    session: &Session,
    command: &CompaniesCommand,
    output: &mut Output<'_>,
) -> Result<(), CliError> {
    let (m, actor) = (&session.manager, &session.actor);
    let record = match command {
        CompaniesCommand::Create { company } => create(session, *company).await?,
        CompaniesCommand::Suspend { company } => {
            known(session, company).await?;
            m.suspend_company(actor, *company).await?
        }
        CompaniesCommand::Reactivate { company } => {
            known(session, company).await?;
            m.reactivate_company(actor, *company).await?
        }
        CompaniesCommand::Show { company } => {
            return output.company(&known(session, company).await?);
        }
        CompaniesCommand::List => return output.companies(&all(session).await?),
    };
    output.company_changed(&record)
}

/// The company, or an error that says how to make it.
pub(crate) async fn known(session: &Session, id: &CompanyId) -> Result<CompanyRecord, CliError> {
    let found = session.manager.company(&session.actor, id).await;
    found.map_err(|error| match error {
        ManageError::NotFound => CliError::Refused(format!(
            "there is no company {id}; create it first with `companies create {id}`"
        )),
        error => error.into(),
    })
}

pub(crate) async fn all(session: &Session) -> Result<Vec<CompanyRecord>, CliError> {
    let mut all: Vec<CompanyRecord> = Vec::new();
    loop {
        let after = all.last().map(|company| company.id);
        let (manager, actor) = (&session.manager, &session.actor);
        let page = manager.companies(actor, after.as_ref(), PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

async fn create(session: &Session, id: CompanyId) -> Result<CompanyRecord, CliError> {
    let created = session.manager.create_company(&session.actor, id).await;
    created.map_err(|error| match error {
        ManageError::AlreadyExists => CliError::Refused(format!(
            "the company {id} exists already; issue a key with `keys issue --company {id} …`"
        )),
        error => error.into(),
    })
}

const PAGE: u32 = 1000;
