//! Payments: create one, read one, ask for its status.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use countersign::{AccessContext, CompanyScope, Denial, Resource};
use serde::Deserialize;
use serde_json::json;

use super::body::Body;
use super::{App, data};
use crate::data::{Amount, Payment, new_id};

#[derive(Debug, Deserialize)]
pub(crate) struct NewPayment {
    pub(crate) source_account_id: String,
    pub(crate) amount: NewAmount,
    pub(crate) reference: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NewAmount {
    pub(crate) currency: String,
    pub(crate) value: String,
}

pub(super) async fn create(
    State(app): State<App>,
    scope: CompanyScope,
    context: AccessContext,
    Body(new): Body<NewPayment>,
) -> Result<impl IntoResponse, Denial> {
    let payment = validate(new)?;
    let created = app.data.create_payment(&scope, payment).await?;
    let created = created.ok_or_else(Denial::not_found)?;
    context.note(|notes| notes.resource = Some(Resource::new("payment", &created.id)));
    Ok((StatusCode::CREATED, data(created)))
}

pub(super) async fn show(
    State(app): State<App>,
    scope: CompanyScope,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Denial> {
    let payment = app.data.payment(&scope, id).await?;
    payment.map(data).ok_or_else(Denial::not_found)
}

pub(super) async fn status(
    State(app): State<App>,
    scope: CompanyScope,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Denial> {
    let payment = app.data.payment(&scope, id).await?;
    let payment = payment.ok_or_else(Denial::not_found)?;
    Ok(data(json!({"id": payment.id, "status": payment.status})))
}

pub(crate) fn validate(new: NewPayment) -> Result<Payment, Denial> {
    let refuse = |field, message| Err(Denial::validation(message).with_detail("field", field));
    let NewAmount { currency, value } = new.amount;
    if !matches!(currency.as_str(), "EUR" | "GBP" | "USD") {
        return refuse("amount.currency", "The currency must be EUR, GBP or USD.");
    }
    if !is_positive_amount(&value) {
        return refuse(
            "amount.value",
            "The value must be a decimal number greater than zero with two decimals at most.",
        );
    }
    let printable = new.reference.chars().all(|c| !c.is_control());
    if new.reference.trim().is_empty() || new.reference.chars().count() > 140 || !printable {
        return refuse(
            "reference",
            "The reference must be 1 to 140 printable characters.",
        );
    }
    Ok(Payment {
        id: new_id("pay"),
        source_account_id: new.source_account_id,
        amount: Amount { currency, value },
        reference: new.reference,
        status: "pending".to_owned(),
    })
}

/// `25`, `25.5`, `25.00`: digits, at most two decimals, not all zero.
fn is_positive_amount(value: &str) -> bool {
    let (units, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |text: &str, max| {
        (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    digits(units, 12) && digits(decimals, 2) && value.bytes().any(|b| (b'1'..=b'9').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::is_positive_amount;

    #[test]
    fn an_amount_is_a_plain_positive_decimal() {
        for good in ["25.00", "0.01", "1", "999999999999.99", "10.5"] {
            assert!(is_positive_amount(good), "{good}");
        }
        for bad in [
            "", "0", "0.00", "-1", "+1", "1e3", "1.", ".5", "1.234", "1,50", "NaN", " 1",
        ] {
            assert!(!is_positive_amount(bad), "{bad}");
        }
    }
}
