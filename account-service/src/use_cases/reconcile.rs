//! Reconciliation: how a recharge stands, asked of pay-service when nothing was heard of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use runtime::SharedClock;
use runtime::database::StoreError;
use uuid::Uuid;

use super::wrong_answers::{Asked, keep_wrong_answer};
use super::{NotPosted, Posting};
use crate::domain::{
    AccountNo, Amount, Arrival, Credit, CreditSource, Currency, Recharge, Refusal, Status, Verdict,
};
use crate::metrics::{Call, Metrics};
use crate::pay_service::{Answer, PayService, Unanswered};
use crate::store::Store;

/// Answers how recharges stand, and credits those that pay-service says succeeded.
pub struct Reconcile {
    /// The books.
    pub store: Arc<dyn Store>,
    /// Who is asked.
    pub pay_service: Arc<dyn PayService>,
    /// How a result gets into the books.
    pub posting: Posting,
    /// Whose recharges these are.
    pub merchant: String,
    /// The time.
    pub clock: SharedClock,
    /// Counts calls.
    pub metrics: Metrics,
}

/// Who knew the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The books here: it is credited.
    Ledger,
    /// pay-service, asked just now.
    PayService,
}

/// How a recharge stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayResult {
    /// Which recharge.
    pub tx_no: Uuid,
    /// How it stands.
    pub status: Status,
    /// Its account.
    pub account_no: AccountNo,
    /// How much.
    pub amount: Amount,
    /// Of what.
    pub currency: Currency,
    /// When it was credited here; `None` when it is not.
    pub credited_at: Option<DateTime<Utc>>,
    /// Who knew.
    pub source: AnsweredBy,
    /// Why a recharge that succeeded could not be credited.
    pub refusal: Option<Refusal>,
}

/// Nothing can be said; asking again later may help.
#[derive(Debug, thiserror::Error)]
pub enum NotReconciled {
    /// pay-service did not answer the question.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// The books could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The credit could not be written.
    #[error(transparent)]
    NotPosted(#[from] NotPosted),
}

impl Reconcile {
    /// How the recharge `tx_no` stands; `None` when neither the books nor pay-service know of it.
    pub async fn payresult(&self, tx_no: Uuid) -> Result<Option<PayResult>, NotReconciled> {
        if let Some(credit) = self.store.credit(tx_no).await? {
            return Ok(Some(PayResult::of_credit(credit)));
        }
        let answer = match self.ask(tx_no).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(None),
            Err(unanswered) => {
                let asked = Asked { tx_no: Some(tx_no), order: None, source: CreditSource::Query };
                keep_wrong_answer(&*self.store, asked, &unanswered, self.clock.now()).await?;
                return Err(unanswered.into());
            }
        };
        let Answer { recharge, received } = answer;
        let arrival = Arrival::new(recharge.clone(), CreditSource::Query, received);
        let verdict = self.posting.post(arrival).await?;
        if let Verdict::Refused(refusal) = &verdict {
            tracing::warn!(recharge.tx_no = %tx_no, error = %refusal, "reconciliation.credit_refused");
        }
        Ok(Some(PayResult::of_answer(recharge, verdict)))
    }

    /// What pay-service says, as long as it says it about this very recharge of ours.
    async fn ask(&self, tx_no: Uuid) -> Result<Option<Answer>, Unanswered> {
        let answer = match self.pay_service.payresult(tx_no).await {
            Ok(Some(answer)) => {
                answer.about(tx_no).and_then(|answer| answer.of_merchant(&self.merchant)).map(Some)
            }
            answer => answer,
        };
        let outcome = if answer.is_ok() { Call::Answered } else { Call::Unknown };
        self.metrics.pay_service_call("payresult", outcome);
        answer
    }
}

impl PayResult {
    fn of_credit(credit: Credit) -> Self {
        Self {
            tx_no: credit.tx_no,
            status: Status::Succeeded,
            account_no: credit.account_no,
            amount: credit.amount,
            currency: credit.currency,
            credited_at: Some(credit.credited_at),
            source: AnsweredBy::Ledger,
            refusal: None,
        }
    }

    fn of_answer(recharge: Recharge, verdict: Verdict) -> Self {
        let (credited_at, refusal) = match verdict {
            Verdict::Credited(credit) | Verdict::Already(credit) => (Some(credit.credited_at), None),
            Verdict::Noted => (None, None),
            Verdict::Refused(refusal) => (None, Some(refusal)),
        };
        Self {
            tx_no: recharge.tx_no,
            status: recharge.status,
            account_no: recharge.account_no,
            amount: recharge.amount,
            currency: recharge.currency,
            credited_at,
            source: AnsweredBy::PayService,
            refusal,
        }
    }
}
