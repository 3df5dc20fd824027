//! pay-service as tests want it: well-behaved, or failing in one of the ways things fail.

use std::time::Duration;

use account_service::domain::Recharge;
use account_service::pay_service::HttpPayService;
use runtime::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{MERCHANT, as_json, tx};

/// Long enough for an answer on this machine, short enough to wait for one that never comes.
pub const TIMEOUT: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(100);

pub fn client(url: &str) -> HttpPayService {
    with_timeout(url, TIMEOUT)
}

fn with_timeout(url: &str, timeout: Duration) -> HttpPayService {
    HttpPayService::new(url.parse().expect("a URL"), &Secret::new("pay-key"), timeout).expect("a client")
}

/// Knows `recharges`, and answers 404 for all others as pay-service does.
pub async fn knowing(recharges: &[Recharge]) -> MockServer {
    let server = MockServer::start().await;
    for recharge in recharges {
        let answer = ResponseTemplate::new(200).set_body_json(as_json(recharge));
        answer_payresult(&server, recharge.tx_no, answer.clone()).await;
        Mock::given(method("GET"))
            .and(path("/v1/payresult"))
            .and(query_param("merchant_order_no", &recharge.merchant_order_no))
            .respond_with(answer)
            .mount(&server)
            .await;
    }
    let unknown = ResponseTemplate::new(404).set_body_raw(
        r#"{"type":"urn:ringback:problem:not-found","status":404}"#,
        "application/problem+json",
    );
    Mock::given(method("GET")).respond_with(unknown).with_priority(10).mount(&server).await;
    server
}

pub async fn answer_payresult(server: &MockServer, tx_no: Uuid, answer: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path(format!("/v1/payresult/{tx_no}")))
        .and(header("authorization", "Bearer pay-key"))
        .respond_with(answer)
        .mount(server)
        .await;
}

/// Takes every recharge under the number `tx_no`, and says it stands at `status`.
pub async fn taking(tx_no: Uuid, status: &'static str) -> MockServer {
    let server = MockServer::start().await;
    let answer = move |request: &Request| {
        ResponseTemplate::new(201).set_body_json(taken(tx_no, status, &request.body))
    };
    Mock::given(method("POST"))
        .and(path("/v1/recharges"))
        .and(header("authorization", "Bearer pay-key"))
        .respond_with(answer)
        .mount(&server)
        .await;
    server
}

fn taken(tx_no: Uuid, status: &str, request: &[u8]) -> Value {
    let mut recharge: Value = serde_json::from_slice(request).expect("JSON");
    recharge["tx_no"] = json!(tx_no);
    recharge["merchant"] = json!(MERCHANT);
    recharge["status"] = json!(status);
    recharge
}

/// A pay-service that fails, whatever it is asked, and what keeps it running.
pub struct Failing {
    pub client: HttpPayService,
    _servers: Vec<MockServer>,
}

/// How pay-service can fail.
pub struct Way {
    pub how: &'static str,
    /// The kind of exception that is kept of it when it is asked how a recharge stands that was
    /// requested here; an outage leaves none.
    pub asked: Option<&'static str>,
    /// The same when it is asked for a recharge; `Err` where that is no failure then.
    pub requested: Result<Option<&'static str>, ()>,
}

const WRONG: Option<&str> = Some("wrong_answer");
const OTHERWISE: Option<&str> = Some("contradicts_request");

/// Every way to fail that must not be taken for a result.
#[rustfmt::skip]
pub const WAYS: [Way; 25] = [
    Way { how: "stopped", asked: None, requested: Ok(None) },
    Way { how: "slow", asked: None, requested: Ok(None) },
    Way { how: "broken off", asked: None, requested: Ok(None) },
    Way { how: "redirect", asked: None, requested: Ok(None) },
    Way { how: "500", asked: None, requested: Ok(None) },
    Way { how: "503", asked: None, requested: Ok(None) },
    Way { how: "429", asked: None, requested: Ok(None) },
    Way { how: "401: the key is not taken", asked: None, requested: Ok(None) },
    Way { how: "204", asked: None, requested: Ok(None) },
    Way { how: "somebody else's 404", asked: None, requested: Ok(None) },
    Way { how: "somebody else's page", asked: WRONG, requested: Ok(WRONG) },
    Way { how: "text", asked: WRONG, requested: Ok(WRONG) },
    Way { how: "an empty body", asked: WRONG, requested: Ok(WRONG) },
    Way { how: "a list", asked: WRONG, requested: Ok(WRONG) },
    Way { how: "64 KiB and more", asked: WRONG, requested: Ok(WRONG) },
    Way { how: "a status nobody knows", asked: WRONG, requested: Ok(WRONG) },
    Way { how: "an amount that is none", asked: WRONG, requested: Ok(WRONG) },
    Way { how: "an amount with a fraction", asked: WRONG, requested: Ok(WRONG) },
    Way { how: "an account number that is none", asked: WRONG, requested: Ok(WRONG) },
    Way { how: "another merchant", asked: WRONG, requested: Ok(WRONG) },
    // pay-service chooses the number of a new recharge.
    Way { how: "another tx_no", asked: WRONG, requested: Err(()) },
    Way { how: "another order", asked: OTHERWISE, requested: Ok(WRONG) },
    Way { how: "another account", asked: OTHERWISE, requested: Ok(OTHERWISE) },
    Way { how: "another amount", asked: OTHERWISE, requested: Ok(OTHERWISE) },
    Way { how: "another currency", asked: OTHERWISE, requested: Ok(OTHERWISE) },
];

/// Fails in this way. `right` is the answer that would be right; asked for a recharge, the one that
/// takes it under this number.
pub async fn failing(how: &'static str, right: &Recharge) -> Failing {
    let tx_no = right.tx_no;
    let right = as_json(right);
    match how {
        "stopped" => return stopped().await,
        "broken off" => return broken_off(&right).await,
        "redirect" => return redirected(&right).await,
        _ => {}
    }
    let server = MockServer::start().await;
    let answer = move |request: &Request| {
        let asked_for = request.method.as_str() == "POST";
        wrong(how, if asked_for { taken(tx_no, "succeeded", &request.body) } else { right.clone() })
    };
    Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
    let timeout = if how == "slow" { SHORT } else { TIMEOUT };
    Failing { client: with_timeout(&server.uri(), timeout), _servers: vec![server] }
}

/// The answer that is wrong in this way.
fn wrong(how: &str, mut right: Value) -> ResponseTemplate {
    let page = "<h1>not here</h1>";
    match how {
        "slow" => {
            return ResponseTemplate::new(200).set_body_json(right).set_delay(Duration::from_mins(1));
        }
        "500" => return ResponseTemplate::new(500).set_body_json(right),
        "503" => return ResponseTemplate::new(503).insert_header("retry-after", "1"),
        "429" => return ResponseTemplate::new(429).set_body_json(right).insert_header("retry-after", "1"),
        "401: the key is not taken" => return ResponseTemplate::new(401),
        "204" => return ResponseTemplate::new(204),
        "somebody else's 404" => return ResponseTemplate::new(404).set_body_raw(page, "text/html"),
        "somebody else's page" => return ResponseTemplate::new(200).set_body_raw(page, "text/html"),
        "text" => return ResponseTemplate::new(200).set_body_string("hello"),
        "an empty body" => return ResponseTemplate::new(200),
        "a list" => return ResponseTemplate::new(200).set_body_json([right]),
        "64 KiB and more" => {
            return ResponseTemplate::new(200).set_body_raw(" ".repeat(70_000), "application/json");
        }
        _ => {}
    }
    let (field, value) = match how {
        "a status nobody knows" => ("status", json!("maybe")),
        "an amount that is none" => ("amount", json!(0)),
        "an amount with a fraction" => ("amount", json!(1.5)),
        "an account number that is none" => ("account_no", json!("\0")),
        "another merchant" => ("merchant", json!("shop")),
        "another tx_no" => ("tx_no", json!(tx(999))),
        "another order" => ("merchant_order_no", json!(tx(998))),
        "another account" => ("account_no", json!("B")),
        "another amount" => ("amount", json!(101)),
        "another currency" => ("currency", json!("USD")),
        _ => unreachable!("{how}"),
    };
    right[field] = value;
    ResponseTemplate::new(200).set_body_json(right)
}

/// Leads to a server that has the right answer, and is never asked.
async fn redirected(right: &Value) -> Failing {
    let (server, elsewhere) = (MockServer::start().await, MockServer::start().await);
    let answer = ResponseTemplate::new(200).set_body_json(right);
    Mock::given(wiremock::matchers::any()).respond_with(answer).expect(0).mount(&elsewhere).await;
    let redirect = ResponseTemplate::new(302).insert_header("location", elsewhere.uri());
    Mock::given(wiremock::matchers::any()).respond_with(redirect).mount(&server).await;
    let client = client(&server.uri());
    Failing { client, _servers: vec![server, elsewhere] }
}

async fn stopped() -> Failing {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    Failing { client: client(&format!("http://{address}")), _servers: Vec::new() }
}

/// Announces the right answer and hangs up in the middle of it.
async fn broken_off(right: &Value) -> Failing {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let body = right.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let half = format!("{head}{}", &body[..body.len() / 2]);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(half.as_bytes()).await;
        }
    });
    Failing { client: client(&format!("http://{address}")), _servers: Vec::new() }
}
