//! Asking pay-service for a recharge: recorded first, so that nothing that was asked is forgotten.

use std::sync::Arc;

use messaging::Ladder;
use runtime::Sources;
use runtime::database::StoreError;
use runtime::problem::Chain;
use runtime::recurring::Recurring;
use runtime::validation::{Invalid, Violations, text};
use uuid::Uuid;

use super::wrong_answers::Asked;
use crate::domain::{
    Account, AccountNo, Amount, Contradiction, CreditSource, Currency, Incident, Recharge, Request,
    RequestState, first_ask,
};
use crate::metrics::{Call, Metrics};
use crate::pay_service::{Answer, NotCreated, PayService, Unanswered};
use crate::store::Store;

/// The longest `attach`, in bytes.
pub(crate) const MAX_ATTACH_BYTES: usize = 1024;
/// The longest name of a channel, in characters.
pub(crate) const MAX_CHANNEL_CHARS: usize = 32;
const DEFAULT_CHANNEL: &str = "instant";

static NOT_NOTED: Recurring = Recurring::new();
static NOT_KEPT: Recurring = Recurring::new();

/// A recharge as it is wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// How much.
    pub amount: Amount,
    /// Of what; the account's own currency when left out.
    pub currency: Option<Currency>,
    /// How it is paid.
    pub channel: String,
    /// The asker's own text.
    pub attach: Option<String>,
}

impl Wish {
    /// Checks every part. pay-service knows which channels there are.
    pub fn new(
        amount: i64,
        currency: Option<&str>,
        channel: Option<String>,
        attach: Option<String>,
    ) -> Result<Self, Invalid> {
        let mut violations = Violations::new();
        let amount = violations.take(Amount::new(amount));
        let currency = currency.and_then(|code| violations.take(code.parse::<Currency>()));
        let channel = channel.unwrap_or_else(|| DEFAULT_CHANNEL.to_owned());
        violations.take(text("channel", &channel, MAX_CHANNEL_CHARS));
        let attached = attach.as_deref().unwrap_or_default();
        violations.require(
            attached.len() <= MAX_ATTACH_BYTES,
            "attach",
            format!("must have at most {MAX_ATTACH_BYTES} bytes, has {}", attached.len()),
        );
        violations.require(!attached.contains('\0'), "attach", "must not contain the NUL character");
        violations.finish()?;
        let amount = amount.expect("a bad amount was recorded as a violation");
        Ok(Self { amount, currency, channel, attach })
    }
}

/// Asks pay-service for recharges.
pub struct RequestRecharge {
    /// Where requests are recorded.
    pub store: Arc<dyn Store>,
    /// Who is asked.
    pub pay_service: Arc<dyn PayService>,
    /// The time and fresh order numbers.
    pub sources: Sources,
    /// As whom.
    pub merchant: String,
    /// When the sweep asks about it.
    pub sweep_ladder: Ladder,
    /// Counts calls.
    pub metrics: Metrics,
}

/// Why there is no recharge to tell of.
#[derive(Debug, thiserror::Error)]
pub enum NotRequested {
    /// No account has that number.
    #[error("there is no such account")]
    NoSuchAccount,
    /// The wish can't be fulfilled as it is; nothing is kept of it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// pay-service may or may not have taken it; the request stays recorded as unknown (law 9).
    #[error("whether pay-service took the order {merchant_order_no} is unknown")]
    Unknown {
        /// What names the request at pay-service.
        merchant_order_no: Uuid,
        /// Why it is not known.
        source: Unanswered,
    },
    /// The request could not be recorded, so pay-service was not asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RequestRecharge {
    /// Records the wish, asks pay-service, and notes what it answers. Credits nothing: the result
    /// comes by notification, or is asked for.
    pub async fn request(
        &self,
        account_no: &AccountNo,
        wish: Wish,
    ) -> Result<(Request, Recharge), NotRequested> {
        let account = self.store.account(account_no).await?.ok_or(NotRequested::NoSuchAccount)?;
        let request = self.prepare(account, wish)?;
        self.store.record_request(&request, first_ask(&self.sweep_ladder, request.created_at)).await?;
        let unknown = |source| NotRequested::Unknown { merchant_order_no: request.merchant_order_no, source };
        match self.ask(&request).await {
            Ok(answer) => match self.note(&request, &answer).await {
                Ok(()) => Ok((request, answer.recharge)),
                Err(contradiction) => {
                    self.keep(answer.clone().refused(contradiction)).await;
                    Err(unknown(answer.contradicting(contradiction)))
                }
            },
            Err(NotCreated::Refused(fields)) => {
                self.store.withdraw_request(request.merchant_order_no).await?;
                Err(NotRequested::Invalid(Invalid(fields)))
            }
            Err(NotCreated::Unknown(source)) => {
                let order = Some(request.merchant_order_no);
                let asked = Asked { tx_no: None, order, source: CreditSource::Request };
                if let Some(incident) = asked.wrong_answer(&source) {
                    self.keep(incident).await;
                }
                Err(unknown(source))
            }
        }
    }

    fn prepare(&self, account: Account, wish: Wish) -> Result<Request, Invalid> {
        let currency = wish.currency.unwrap_or(account.currency);
        if currency != account.currency {
            return Err(Invalid::field(
                "currency",
                format!("must be {}: the account holds it", account.currency),
            ));
        }
        Ok(Request {
            merchant_order_no: self.sources.ids.next(),
            account_no: account.account_no,
            amount: wish.amount,
            currency,
            channel: wish.channel,
            attach: wish.attach,
            state: RequestState::Unknown,
            created_at: self.sources.clock.now(),
        })
    }

    /// What pay-service answers, as long as it is about this very request.
    async fn ask(&self, request: &Request) -> Result<Answer, NotCreated> {
        let answer = self.pay_service.create(request).await.and_then(|answer| {
            Ok(answer.of_merchant(&self.merchant)?.about_order(request.merchant_order_no)?)
        });
        let outcome = match &answer {
            Ok(_) => Call::Answered,
            Err(NotCreated::Refused(_)) => Call::Refused,
            Err(NotCreated::Unknown(_)) => Call::Unknown,
        };
        self.metrics.pay_service_call("create", outcome);
        answer
    }

    /// A failure of the database loses nothing: the recharge exists, and its notification will name
    /// the request.
    async fn note(&self, request: &Request, answer: &Answer) -> Result<(), Contradiction> {
        let order = request.merchant_order_no;
        request.learn(&answer.recharge)?;
        match self.store.note_answer(order, &answer.recharge, self.sources.clock.now()).await {
            Ok(noted) => noted,
            Err(error) => {
                if let Some(times) = NOT_NOTED.note(&Chain(&error)) {
                    tracing::warn!(request.merchant_order_no = %order, error = %Chain(&error), times, "request.answer_not_noted");
                }
                Ok(())
            }
        }
    }

    /// A failure of the database loses nothing here either: the request stays unknown, so pay-service
    /// will be asked about it again.
    async fn keep(&self, incident: Incident) {
        if let Err(error) = self.store.note(&[incident], self.sources.clock.now()).await
            && let Some(times) = NOT_KEPT.note(&Chain(&error))
        {
            tracing::warn!(error = %Chain(&error), times, "exception.not_kept");
        }
    }
}
