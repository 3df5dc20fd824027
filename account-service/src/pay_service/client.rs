//! pay-service over HTTP: bounded in time and in size, through no proxy, after no redirect.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use runtime::Secret;
use runtime::http::RenewedClient;
use runtime::validation::FieldError;
use serde::Deserialize;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{Answer, NotCreated, PayService, StatementPage, StatementQuery, Unanswered};
use crate::domain::Request;
use crate::wire::read_recharge;

/// The longest answer that is read: a recharge with the longest attachment is a fraction of it.
const ANSWER_LIMIT: usize = 64 * 1024;
/// The most that one recharge of a statement can take: the longest attachment, each byte of it escaped.
const LINE_LIMIT: usize = 8 * 1024;
/// How much is kept of an answer that can't be read.
const EXCERPT_CHARS: usize = 500;
/// The parts of a request that the asker chose, and may be told to choose differently.
const CHOSEN: [&str; 5] = ["account_no", "amount", "currency", "channel", "attach"];

/// pay-service at a base URL.
#[derive(Clone)]
pub struct HttpPayService {
    http: RenewedClient,
    base: Url,
}

/// The key can't be sent. Never shows it.
#[derive(Debug, thiserror::Error)]
pub enum BadKey {
    /// A header can't carry it.
    #[error("the key for pay-service holds characters that a header can't carry")]
    Characters,
    /// The client can't be made.
    #[error("no HTTP client for pay-service")]
    Client(#[source] reqwest::Error),
}

struct Response {
    status: StatusCode,
    /// Whether it says to be JSON, or does not say what it is.
    maybe_json: bool,
    body: Vec<u8>,
}

impl HttpPayService {
    /// pay-service at `base`, asked with `key`; a whole exchange takes at most `timeout`.
    pub fn new(base: Url, key: &Secret, timeout: Duration) -> Result<Self, BadKey> {
        let mut bearer =
            HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| BadKey::Characters)?;
        bearer.set_sensitive(true);
        let build = move || {
            Client::builder()
                .user_agent(concat!("Ringback/", env!("CARGO_PKG_VERSION")))
                .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer.clone())]))
                .redirect(redirect::Policy::none())
                .no_proxy()
                .timeout(timeout)
                .build()
        };
        Ok(Self { http: RenewedClient::new(build).map_err(BadKey::Client)?, base })
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

async fn exchange(request: RequestBuilder) -> Result<Response, Unanswered> {
    exchange_within(request, ANSWER_LIMIT).await
}

async fn exchange_within(request: RequestBuilder, limit: usize) -> Result<Response, Unanswered> {
    let unreachable = |error: reqwest::Error| Unanswered::Unreachable(error.without_url());
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    let maybe_json = kind.is_none_or(|kind| kind.contains("json"));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > limit {
            return Err(Unanswered::TooLong(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status, maybe_json, body })
}

impl Response {
    /// The recharge that it holds.
    fn recharge(&self) -> Result<Answer, Unanswered> {
        let text = String::from_utf8_lossy(&self.body);
        match read_recharge(&self.body) {
            Ok(recharge) => Ok(Answer { recharge, received: text.into() }),
            Err(source) => Err(Unanswered::Nonsense { source, received: excerpt(&text) }),
        }
    }
}

/// The beginning of `text` as a JSON string, so that it can be kept and shown whatever it is.
fn excerpt(text: &str) -> Box<str> {
    json!(text.chars().take(EXCERPT_CHARS).collect::<String>()).to_string().into()
}

/// The fields that pay-service refuses, if the asker can do something about each of them. Else the
/// refusal is about how this service asks, and says nothing about the recharge.
fn refused_fields(body: &[u8]) -> Option<Vec<FieldError>> {
    #[derive(Deserialize)]
    struct Refused {
        errors: Vec<Field>,
    }
    #[derive(Deserialize)]
    struct Field {
        field: String,
        message: String,
    }
    let refused: Refused = serde_json::from_slice(body).ok()?;
    let chosen = refused.errors.iter().all(|error| CHOSEN.contains(&error.field.as_str()));
    let fields = refused.errors.into_iter().map(|Field { field, message }| FieldError { field, message });
    let fields: Vec<FieldError> = fields.collect();
    (chosen && !fields.is_empty()).then_some(fields)
}

#[async_trait]
impl PayService for HttpPayService {
    async fn create(&self, request: &Request) -> Result<Answer, NotCreated> {
        let body = json!({
            "merchant_order_no": request.merchant_order_no,
            "account_no": request.account_no.as_str(),
            "amount": request.amount.minor_units(),
            "currency": request.currency.as_str(),
            "channel": request.channel,
            "attach": request.attach,
        });
        let answer = exchange(self.http.current().post(self.url(&["v1", "recharges"])).json(&body)).await?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => Ok(answer.recharge()?),
            StatusCode::UNPROCESSABLE_ENTITY => Err(refused_fields(&answer.body)
                .map_or(Unanswered::Status(answer.status.as_u16()).into(), NotCreated::Refused)),
            status => Err(Unanswered::Status(status.as_u16()).into()),
        }
    }

    async fn payresult(&self, tx_no: Uuid) -> Result<Option<Answer>, Unanswered> {
        payresult(self.http.current().get(self.url(&["v1", "payresult", &tx_no.to_string()]))).await
    }

    async fn payresult_of_order(&self, merchant_order_no: Uuid) -> Result<Option<Answer>, Unanswered> {
        let mut url = self.url(&["v1", "payresult"]);
        url.query_pairs_mut().append_pair("merchant_order_no", &merchant_order_no.to_string());
        payresult(self.http.current().get(url)).await
    }

    async fn statement(&self, query: &StatementQuery) -> Result<StatementPage, Unanswered> {
        let mut url = self.url(&["v1", "recharges"]);
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        url.query_pairs_mut()
            .append_pair("created_from", &time(query.period.from))
            .append_pair("created_to", &time(query.period.to))
            .append_pair("limit", &query.limit.to_string())
            .extend_pairs(query.after.map(|after| ("after", after.to_string())));
        let limit = ANSWER_LIMIT + LINE_LIMIT * usize::from(query.limit);
        let answer = exchange_within(self.http.current().get(url), limit).await?;
        match answer.status {
            StatusCode::OK => StatementPage::read(&answer.body),
            status => Err(Unanswered::Status(status.as_u16())),
        }
    }
}

async fn payresult(question: RequestBuilder) -> Result<Option<Answer>, Unanswered> {
    let answer = exchange(question).await?;
    match answer.status {
        StatusCode::OK => Ok(Some(answer.recharge()?)),
        // Somebody else's "page not found" says nothing about the recharge.
        StatusCode::NOT_FOUND if answer.maybe_json => Ok(None),
        status => Err(Unanswered::Status(status.as_u16())),
    }
}
