//! What the methods do. As in payments-api no handler asks who is calling or whether they may.

use std::pin::Pin;

use countersign::{AccessContext, CompanyScope, Denial, Resource};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::data::{self, Data};
use crate::handlers::payments::{NewAmount, NewPayment, validate};
use crate::proto::payments_server::Payments;
use crate::proto::{
    Account, Amount, CreatePaymentRequest, CreatePaymentsResponse, GetPaymentRequest,
    ListAccountsRequest, ListAccountsResponse, ListNotificationsRequest, Notification, Payment,
    PaymentStatus,
};

/// The service, over one environment's data.
#[derive(Debug, Clone)]
pub(crate) struct PaymentsService {
    pub(crate) data: Data,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Payments for PaymentsService {
    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let accounts = self.data.accounts(&scope).await?;
        let accounts = accounts.into_iter().map(Account::from).collect();
        Ok(Response::new(ListAccountsResponse { accounts }))
    }

    async fn get_payment(
        &self,
        request: Request<GetPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let id = request.into_inner().payment_id;
        Ok(Response::new(self.find(&scope, id).await?.into()))
    }

    async fn create_payment(
        &self,
        request: Request<CreatePaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let context = AccessContext::of_call(&request)?.clone();
        let created = self.create(&scope, request.into_inner()).await?;
        context.note(|notes| notes.resource = Some(Resource::new("payment", &created.id)));
        Ok(Response::new(created.into()))
    }

    async fn create_payments(
        &self,
        request: Request<Streaming<CreatePaymentRequest>>,
    ) -> Result<Response<CreatePaymentsResponse>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let mut orders = request.into_inner();
        let mut payment_ids = Vec::new();
        while let Some(order) = orders.message().await? {
            payment_ids.push(self.create(&scope, order).await?.id);
        }
        Ok(Response::new(CreatePaymentsResponse { payment_ids }))
    }

    type ListNotificationsStream = Answers<Notification>;

    async fn list_notifications(
        &self,
        request: Request<ListNotificationsRequest>,
    ) -> Result<Response<Answers<Notification>>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let found = self.data.notifications(&scope).await?;
        let found = found.into_iter().map(|one| Ok(Notification::from(one)));
        Ok(Response::new(Box::pin(tokio_stream::iter(found))))
    }

    type PaymentStatusesStream = Answers<PaymentStatus>;

    async fn payment_statuses(
        &self,
        request: Request<Streaming<GetPaymentRequest>>,
    ) -> Result<Response<Answers<PaymentStatus>>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let service = self.clone();
        let answers = request.into_inner().then(move |question| {
            let (service, scope) = (service.clone(), scope.clone());
            async move {
                let payment = service.find(&scope, question?.payment_id).await?;
                Ok(PaymentStatus {
                    payment_id: payment.id,
                    status: payment.status,
                })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

impl PaymentsService {
    async fn find(&self, scope: &CompanyScope, id: String) -> Result<data::Payment, Denial> {
        let payment = self.data.payment(scope, id).await?;
        payment.ok_or_else(Denial::not_found)
    }

    async fn create(
        &self,
        scope: &CompanyScope,
        order: CreatePaymentRequest,
    ) -> Result<data::Payment, Denial> {
        let amount = order.amount.unwrap_or_default();
        let payment = validate(NewPayment {
            source_account_id: order.source_account_id,
            amount: NewAmount {
                currency: amount.currency,
                value: amount.value,
            },
            reference: order.reference,
        })?;
        let created = self.data.create_payment(scope, payment).await?;
        created.ok_or_else(Denial::not_found)
    }
}

impl From<data::Account> for Account {
    fn from(account: data::Account) -> Self {
        Self {
            id: account.id,
            bank_id: account.bank_id,
            name: account.name,
            currency: account.currency,
        }
    }
}

impl From<data::Payment> for Payment {
    fn from(payment: data::Payment) -> Self {
        Self {
            id: payment.id,
            source_account_id: payment.source_account_id,
            amount: Some(Amount {
                currency: payment.amount.currency,
                value: payment.amount.value,
            }),
            reference: payment.reference,
            status: payment.status,
        }
    }
}

impl From<data::Notification> for Notification {
    fn from(notification: data::Notification) -> Self {
        Self {
            id: notification.id,
            kind: notification.kind,
            resource_id: notification.resource_id,
        }
    }
}
