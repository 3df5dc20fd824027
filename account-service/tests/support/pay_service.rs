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
    pub how: &'static str,
    /// Whether it answers, but not what it was asked: such an answer is kept as an exception.
    pub answers_wrongly: bool,
    pub client: HttpPayService,
    _servers: Vec<MockServer>,
}

/// Every way to fail that a caller must tell as unknown. `right` is the answer that would be right.
pub async fn failing(right: &Recharge) -> Vec<Failing> {
    let right = as_json(right);
    let with = |field: &str, value: Value| {
        let mut other = right.clone();
        other[field] = value;
        ResponseTemplate::new(200).set_body_json(other)
    };
    let html = ResponseTemplate::new(404).set_body_raw("<h1>not found</h1>", "text/html");
    let answers = [
        ("500", ResponseTemplate::new(500).set_body_json(&right)),
        ("503", ResponseTemplate::new(503).insert_header("retry-after", "1")),
        ("401: the key is not taken", ResponseTemplate::new(401)),
        ("somebody else's 404", html),
        ("text", ResponseTemplate::new(200).set_body_string("hello")),
        ("an empty body", ResponseTemplate::new(200)),
        ("204", ResponseTemplate::new(204)),
        ("a list", ResponseTemplate::new(200).set_body_json([&right])),
        ("64 KiB and more", ResponseTemplate::new(200).set_body_raw(" ".repeat(70_000), "application/json")),
        ("another tx_no", with("tx_no", json!(tx(999)))),
        ("another merchant", with("merchant", json!("shop"))),
        ("a status nobody knows", with("status", json!("maybe"))),
        ("an amount that is none", with("amount", json!(0))),
        ("an amount with a fraction", with("amount", json!(1.5))),
        ("an account number that is none", with("account_no", json!("\0"))),
    ];
    let outages = ["500", "503", "401: the key is not taken", "somebody else's 404", "204"];
    let mut all =
        vec![slow(&right).await, stopped().await, broken_off(&right).await, redirected(&right).await];
    for (how, answer) in answers {
        let server = MockServer::start().await;
        Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
        let answers_wrongly = !outages.contains(&how);
        all.push(Failing { how, answers_wrongly, client: client(&server.uri()), _servers: vec![server] });
    }
    all
}

/// Leads to a server that has the right answer, and is never asked.
async fn redirected(right: &Value) -> Failing {
    let (server, elsewhere) = (MockServer::start().await, MockServer::start().await);
    let answer = ResponseTemplate::new(200).set_body_json(right);
    Mock::given(wiremock::matchers::any()).respond_with(answer).expect(0).mount(&elsewhere).await;
    let redirect = ResponseTemplate::new(302).insert_header("location", elsewhere.uri());
    Mock::given(wiremock::matchers::any()).respond_with(redirect).mount(&server).await;
    let client = client(&server.uri());
    Failing {
        how: "a redirect to the right answer",
        answers_wrongly: false,
        client,
        _servers: vec![server, elsewhere],
    }
}

async fn slow(right: &Value) -> Failing {
    let server = MockServer::start().await;
    let late = ResponseTemplate::new(200).set_body_json(right).set_delay(Duration::from_mins(1));
    Mock::given(wiremock::matchers::any()).respond_with(late).mount(&server).await;
    let client = with_timeout(&server.uri(), SHORT);
    Failing { how: "slow", answers_wrongly: false, client, _servers: vec![server] }
}

async fn stopped() -> Failing {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    Failing {
        how: "stopped",
        answers_wrongly: false,
        client: client(&format!("http://{address}")),
        _servers: Vec::new(),
    }
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
    Failing {
        how: "broken off",
        answers_wrongly: false,
        client: client(&format!("http://{address}")),
        _servers: Vec::new(),
    }
}
