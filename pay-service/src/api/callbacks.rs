//! `POST /v1/callbacks/{channel}`: where payment platforms call in.

use axum::extract::Request;
use axum::http::HeaderMap;
use messaging::webhook::{self, Claims, WebhookSecret};
use runtime::Problem;
use runtime::http::described::{BodyProblems, Failures, TxNo};
use runtime::http::extract::{is_json, parse};
use runtime::http::{Json, Path};
use runtime::validation::{self, Invalid, Violations};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::State;
use super::described::{CallbackResult, CurrencyCode, Failure, MinorUnits, RechargeStatus};
use crate::domain::{Amount, Channel, Currency, Outcome, StatusName};
use crate::usecases::settle_recharge::{NotSettled, Report, settle};

/// The longest `failure`, in characters.
pub(super) const MAX_FAILURE: usize = 256;
/// What a failed recharge shows when the channel gives no reason.
const NO_REASON: &str = "the channel gave no reason";

/// The sandbox channel's result of a recharge.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "tx_no": "019b76da-a800-7000-8000-000000000001", "amount": 1000, "currency": "CNY", "result": "succeeded"
}))]
pub struct SandboxCallback {
    /// Our number of the recharge
    #[schema(value_type = TxNo)]
    tx_no: Uuid,
    /// The recharge's amount, in minor units
    #[schema(value_type = MinorUnits)]
    amount: i64,
    /// The recharge's currency
    #[schema(value_type = CurrencyCode)]
    currency: String,
    /// What became of the payment
    #[schema(value_type = CallbackResult)]
    result: String,
    /// Why it failed; only with the result `failed`
    #[schema(value_type = Option<Failure>)]
    failure: Option<String>,
}

/// The result was taken, now or before.
#[derive(Debug, Serialize, ToSchema)]
pub struct Taken {
    /// Our number of the recharge
    tx_no: Uuid,
    /// The recharge's status now
    #[schema(value_type = RechargeStatus)]
    status: &'static str,
}

/// Take a payment platform's result
///
/// Signed by Standard Webhooks with the channel's secret; no bearer key.
#[utoipa::path(
    post,
    path = "/v1/callbacks/{channel}",
    operation_id = "receiveCallback",
    tag = "callbacks",
    params(
        ("channel" = String, Path, description = "The channel", example = "sandbox", min_length = 1),
        ("webhook-id" = String, Header, description = "The message's id", example = "msg_1"),
        ("webhook-timestamp" = i64, Header, description = "When it was sent, in Unix seconds; at most 5 minutes off", example = 1_767_323_045),
        ("webhook-signature" = String, Header, description = "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`", example = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
    ),
    request_body = SandboxCallback,
    responses(
        (status = 200, description = "The result is taken, or was before", body = Taken),
        (status = 401, description = "No valid signature", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such channel takes callbacks here, or it has no such recharge", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The recharge is final with another result", body = Problem, content_type = "application/problem+json"),
        Failures,
        BodyProblems,
    )
)]
pub async fn take(
    state: State,
    Path(channel): Path<String>,
    request: Request,
) -> Result<Json<Taken>, Problem> {
    let (channel, secret) = gateway(&channel, state.sandbox_secret.as_ref())?;
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return Err(Problem::unsupported_media_type());
    }
    let body = runtime::http::extract::body(Request::new(body), &()).await?;
    let now = state.tools.sources.clock.wall();
    webhook::verify(std::slice::from_ref(secret), claims(&parts.headers), &body, now)
        .map_err(|error| Problem::unauthorized(error.to_string()))?;
    let report = parse::<SandboxCallback>(&body)?.report(channel)?;
    let tx_no = report.tx_no;
    let recharge = settle(&state.tools, report).await.map_err(|error| problem(tx_no, error))?;
    Ok(Json(Taken { tx_no, status: recharge.status.name().as_str() }))
}

/// The channel's gateway: for now the sandbox's alone, where its secret is configured.
fn gateway<'a>(
    name: &str,
    sandbox: Option<&'a WebhookSecret>,
) -> Result<(Channel, &'a WebhookSecret), Problem> {
    match (Channel::named(name), sandbox) {
        (Some(Channel::Sandbox), Some(secret)) => Ok((Channel::Sandbox, secret)),
        (Some(Channel::Instant), _) => Err(Problem::not_found("the channel instant has no callbacks")),
        (Some(known), _) => {
            let name = known.as_str();
            Err(Problem::not_found(format!("the callbacks of the channel {name} are not configured")))
        }
        (None, _) => Err(Problem::not_found("there is no such channel")),
    }
}

fn claims(headers: &HeaderMap) -> Claims<'_> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    Claims {
        id: text(webhook::ID_HEADER),
        timestamp: text(webhook::TIMESTAMP_HEADER),
        signature: text(webhook::SIGNATURE_HEADER),
    }
}

impl SandboxCallback {
    fn report(self, channel: Channel) -> Result<Report, Invalid> {
        let mut violations = Violations::new();
        let amount = violations.take(Amount::new(self.amount));
        let currency = violations.take(Currency::parse(&self.currency));
        let outcome = violations.take(outcome(&self.result, self.failure));
        violations.finish()?;
        let (Some(amount), Some(currency), Some(outcome)) = (amount, currency, outcome) else {
            unreachable!("a field that is missing was recorded as a violation");
        };
        Ok(Report { channel, tx_no: self.tx_no, amount, currency, outcome })
    }
}

fn outcome(result: &str, failure: Option<String>) -> Result<Outcome, Invalid> {
    match (StatusName::named(result), failure) {
        (Some(StatusName::Failed), failure) => {
            let failure = failure.unwrap_or_else(|| NO_REASON.to_owned());
            validation::text("failure", &failure, MAX_FAILURE)?;
            Ok(Outcome::Failed { failure })
        }
        (Some(StatusName::Succeeded | StatusName::Closed), Some(_)) => {
            Err(Invalid::field("failure", "goes only with the result failed"))
        }
        (Some(StatusName::Succeeded), None) => Ok(Outcome::Succeeded),
        (Some(StatusName::Closed), None) => Ok(Outcome::Closed),
        (Some(StatusName::Pending) | None, _) => {
            Err(Invalid::field("result", "must be succeeded, failed or closed"))
        }
    }
}

fn problem(tx_no: Uuid, error: NotSettled) -> Problem {
    match error {
        NotSettled::Unknown => Problem::not_found("the channel has no recharge with this tx_no"),
        NotSettled::Mismatch(invalid) => Problem::invalid(invalid),
        NotSettled::Refused(refused) => {
            tracing::warn!(recharge.tx_no = %tx_no, recharge.status = refused.is.as_str(), "callback.contradicts");
            Problem::conflict(refused.to_string())
        }
        NotSettled::Store(error) => error.into(),
    }
}
