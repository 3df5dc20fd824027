//! Bad input, endpoint by endpoint: an exact status, a problem, one line in the log, nothing changed.

use axum::body::Body;
use axum::http::{Request, header};
use runtime::testing::log::Log;
use serde_json::{Value, json};

use crate::support::harness::{Answer, Harness, OPERATOR, OTHER, SHOP, new_order, post, with_key};

/// Sends each request and holds the answer to what every refusal must be.
async fn refuse(service: &Harness, cases: Vec<(&str, Request<Body>, u16)>) -> Vec<Answer> {
    let before = service.everything().await;
    let mut answers = Vec::new();
    for (name, request, status) in cases {
        let (log, guard) = Log::start();
        let answer = service.send(request).await;
        drop(guard);
        assert_eq!(
            (answer.status, &answer.body["status"]),
            (status, &json!(status)),
            "{name} {}",
            answer.body
        );
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json", "{name}");
        let kind = answer.body["type"].as_str().unwrap_or_default();
        assert!(kind.starts_with("urn:ringback:problem:"), "{name} {kind}");
        assert!(answer.body["title"].is_string() && answer.body["detail"].is_string(), "{name}");
        let lines = log.take();
        assert!(lines.len() == 1 && lines[0].contains("request.refused"), "{name} {lines:?}");
        answers.push(answer);
    }
    assert_eq!(service.everything().await, before, "nothing changed");
    answers
}

fn create(body: impl Into<Body>) -> Request<Body> {
    post(SHOP, "/v1/recharges", body)
}

#[tokio::test]
async fn bodies_that_can_not_be_read() {
    let service = Harness::start().await;
    service.pending("order-1").await;
    let good = new_order("order-2", &json!({})).to_string();
    let plain = with_key("POST", "/v1/recharges", SHOP).header("content-type", "text/plain");
    let untyped = with_key("POST", "/v1/recharges", SHOP);
    let spaces = vec![b' '; 64 * 1024 + 1];
    let stream = futures_util::stream::iter((0..17).map(|_| Ok::<_, std::io::Error>(vec![b' '; 4096])));
    let open = format!("{{\"attach\":{}", "[".repeat(10_000));
    let deep = format!("{open}{}}}", "]".repeat(10_000));
    let twice = good.replacen('{', "{\"amount\":1000,", 1);
    refuse(
        &service,
        vec![
            ("no body", create(""), 400),
            ("half a body", create(good[..20].to_owned()), 400),
            ("two bodies", create(format!("{good}{good}")), 400),
            ("no JSON", create("amount=1000"), 400),
            ("no UTF-8", create(vec![b'"', 0xFF, b'"']), 400),
            ("half a character", create(good.replace("6222", "\\ud800")), 422),
            ("never closed", create(open), 400),
            ("too deep", create(deep), 422),
            ("an array", create("[]"), 422),
            ("a number", create("7"), 422),
            ("null", create("null"), 422),
            ("a field twice", create(twice), 422),
            ("not said to be JSON", untyped.body(good.clone().into()).expect("a request"), 415),
            ("said to be text", plain.body(good.into()).expect("a request"), 415),
            ("too long, announced", create(spaces), 413),
            ("too long, streamed", create(Body::from_stream(stream)), 413),
        ],
    )
    .await;
}

#[tokio::test]
async fn fields_that_are_wrong_are_named() {
    let service = Harness::start().await;
    service.pending("order-1").await;
    let cases = [
        ("amount", json!(0)),
        ("amount", json!(-1)),
        ("amount", json!(1.5)),
        ("amount", json!(1000.0)),
        ("amount", json!(10_000_000_000_000_i64)),
        ("amount", json!(1_000_000_000_001_i64)),
        ("amount", json!(u64::MAX)),
        ("amount", json!(1e300)),
        ("amount", json!("1000")),
        ("amount", json!(true)),
        ("amount", Value::Null),
        ("merchant_order_no", json!("")),
        ("merchant_order_no", json!("x".repeat(65))),
        ("merchant_order_no", json!("order 1")),
        ("merchant_order_no", json!("order\u{0}1")),
        ("merchant_order_no", json!("订单")),
        ("merchant_order_no", json!(1)),
        ("merchant_order_no", Value::Null),
        ("account_no", json!("")),
        ("account_no", json!("6".repeat(65))),
        ("account_no", json!("6222\n")),
        ("account_no", json!("\u{0}")),
        ("account_no", json!(6222)),
        ("account_no", Value::Null),
        ("currency", json!("")),
        ("currency", json!("cny")),
        ("currency", json!("RMB")),
        ("currency", json!("CNYY")),
        ("currency", json!(156)),
        ("channel", json!("")),
        ("channel", json!("cash")),
        ("channel", json!("Instant")),
        ("channel", json!(["instant"])),
        ("attach", json!("x".repeat(1025))),
        ("attach", json!("长".repeat(342))),
        ("attach", json!("\u{0}")),
        ("attach", json!({ "a": 1 })),
        ("merchant", json!(7)),
        ("tip", json!(1)),
        ("tx_no", json!("01900000-0000-7000-8000-000000000000")),
        ("status", json!("succeeded")),
    ];
    let requests = cases.iter().map(|(field, value)| {
        (*field, create(new_order("order-2", &json!({ *field: value })).to_string()), 422)
    });
    let missing = ["merchant_order_no", "account_no", "amount"].map(|field| {
        let mut order = new_order("order-2", &json!({}));
        order.as_object_mut().expect("an object").remove(field);
        (field, create(order.to_string()), 422)
    });
    let requests: Vec<_> = requests.chain(missing).collect();
    let fields: Vec<&str> = requests.iter().map(|(field, ..)| *field).collect();
    let answers = refuse(&service, requests).await;
    for (field, answer) in fields.iter().zip(answers) {
        assert_eq!(answer.body["errors"][0]["field"], *field, "{}", answer.body);
        assert!(answer.body["errors"][0]["message"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

#[tokio::test]
async fn callers_who_may_not() {
    let service = Harness::start().await;
    let tx_no = service.pending("order-1").await;
    let good = || Body::from(new_order("order-2", &json!({})).to_string());
    let result = format!("/v1/payresult/{tx_no}");
    let anonymous = |method: &str, path: &str| Request::builder().method(method).uri(path);
    let with = |value: &str| anonymous("GET", &result).header("authorization", value);
    let elsewhere = new_order("order-2", &json!({ "merchant": "other" })).to_string();
    let get = |key: &str, path: &str| with_key("GET", path, key).body(Body::empty()).expect("a request");
    refuse(
        &service,
        vec![
            ("no key", anonymous("GET", &result).body(Body::empty()).expect("a request"), 401),
            ("no key, create", anonymous("POST", "/v1/recharges").body(good()).expect("a request"), 401),
            (
                "no key, statement",
                anonymous("GET", "/v1/recharges").body(Body::empty()).expect("a request"),
                401,
            ),
            (
                "no key, bad body",
                anonymous("POST", "/v1/recharges").body("{".into()).expect("a request"),
                401,
            ),
            ("wrong key", get("guess", &result), 401),
            ("wrong key, create", post("guess", "/v1/recharges", good()), 401),
            ("empty key", get("", &result), 401),
            ("half a key", get(&SHOP[..4], &result), 401),
            ("another scheme", with("Basic c2hvcC1rZXk=").body(Body::empty()).expect("a request"), 401),
            ("no scheme", with(SHOP).body(Body::empty()).expect("a request"), 401),
            ("another's number", get(OTHER, &result), 404),
            ("another's order", get(OTHER, "/v1/payresult?merchant_order_no=order-1&merchant=shop"), 404),
            ("another's statement", get(OTHER, "/v1/recharges?merchant=shop"), 404),
            ("for another", create(elsewhere), 403),
        ],
    )
    .await;
}

#[tokio::test]
async fn paths_methods_and_queries_that_lead_nowhere() {
    let service = Harness::start().await;
    service.pending("order-1").await;
    let over = "x".repeat(65);
    let paths: Vec<(String, u16)> = [
        ("/", 404),
        ("/v1", 404),
        ("/v1/recharges/", 404),
        ("/v1/recharges/1", 404),
        ("/v1/payresult/", 404),
        ("/v1/payresult/1", 404),
        ("/v1/payresult/%FF", 404),
        ("/v1/payresult/01900000-0000-7000-8000-00000000000", 404),
        ("/v1/payresult/00000000-0000-0000-0000-000000000000", 404),
        ("/v1/payresult/ffffffff-ffff-ffff-ffff-ffffffffffff", 404),
        ("/v1/payresult?merchant_order_no=unknown&merchant=shop", 404),
        ("/v1/payresult", 400),
        ("/v1/payresult?merchant=shop", 400),
        ("/v1/payresult?merchant_order_no=order-1", 400),
        ("/v1/payresult?merchant_order_no=&merchant=shop", 400),
        ("/v1/payresult?merchant_order_no=%00&merchant=shop", 400),
        ("/v1/payresult?merchant_order_no=%FF&merchant=shop", 400),
        ("/v1/payresult?merchant_order_no=order-1&merchant=%00", 400),
        ("/v1/payresult?merchant_order_no=order-1&merchant=shop&merchant=shop", 400),
        ("/v1/payresult?merchant_order_no=order-1&merchant=shop&x=1", 400),
        ("/v1/recharges?cursor=x", 400),
        ("/v1/recharges?cursor=", 400),
        ("/v1/recharges?cursor=AQ", 400),
        ("/v1/recharges?cursor=AgAAAAAAAAAAAAAAAAAAAAA", 400),
        ("/v1/recharges?cursor=%00", 400),
        ("/v1/recharges?after=7", 400),
        ("/v1/recharges?after=", 400),
        ("/v1/recharges?after=0190a0b0-0000-7000-8000-000000000000&cursor=AQGQoLAAAHAAgAAAAAAAAAA", 400),
        ("/v1/recharges?limit=0", 400),
        ("/v1/recharges?limit=201", 400),
        ("/v1/recharges?limit=-1", 400),
        ("/v1/recharges?limit=1.5", 400),
        ("/v1/recharges?limit=ten", 400),
        ("/v1/recharges?limit=", 400),
        ("/v1/recharges?limit=99999999999999999999", 400),
        ("/v1/recharges?status=paid", 400),
        ("/v1/recharges?status=", 400),
        ("/v1/recharges?account_no=", 400),
        ("/v1/recharges?account_no=%00", 400),
        ("/v1/recharges?merchant=", 400),
        ("/v1/recharges?created_from=yesterday", 400),
        ("/v1/recharges?created_from=2026-01-01", 400),
        ("/v1/recharges?created_to=%2B262142-12-31T23:59:59Z", 400),
        ("/v1/recharges?page=2", 400),
    ]
    .map(|(path, status)| (path.to_owned(), status))
    .into_iter()
    .chain([
        (format!("/v1/payresult?merchant_order_no={over}&merchant=shop"), 400),
        (format!("/v1/recharges?account_no={over}"), 400),
        (format!("/v1/recharges?merchant={over}"), 400),
    ])
    .collect();
    let requests = paths.iter().map(|(path, status)| {
        (path.as_str(), with_key("GET", path, OPERATOR).body(Body::empty()).expect("a request"), *status)
    });
    refuse(&service, requests.collect()).await;
    let methods = [
        ("DELETE", "/v1/recharges"),
        ("PUT", "/v1/recharges"),
        ("POST", "/v1/payresult"),
        ("PATCH", "/v1/payresult/01900000-0000-7000-8000-000000000000"),
        ("GET", "/v1/callbacks/sandbox"),
        ("POST", "/healthz"),
    ];
    let requests = methods.map(|(method, path)| {
        (path, with_key(method, path, OPERATOR).body(Body::empty()).expect("a request"), 405)
    });
    for answer in refuse(&service, requests.into()).await {
        assert!(answer.headers.contains_key(header::ALLOW));
    }
}

#[tokio::test]
async fn callbacks_that_can_not_be_read() {
    let service = Harness::start().await;
    let tx_no = service.pending("order-1").await;
    let callback = |content_type: &str, body: Body| {
        Request::post("/v1/callbacks/sandbox")
            .header("content-type", content_type)
            .body(body)
            .expect("a request")
    };
    let unsigned = json!({ "tx_no": tx_no, "amount": 1000, "currency": "CNY", "result": "succeeded" });
    let signed = |text: &str| {
        let secret: messaging::webhook::WebhookSecret =
            crate::support::harness::SANDBOX_SECRET.parse().expect("a secret");
        let now = runtime::Clock::now(&service.clock).timestamp();
        Request::post("/v1/callbacks/sandbox")
            .header("content-type", "application/json")
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", now)
            .header("webhook-signature", secret.sign("msg_1", now, text.as_bytes()))
            .body(Body::from(text.to_owned()))
            .expect("a request")
    };
    let json = "application/json";
    refuse(
        &service,
        vec![
            ("unsigned", callback(json, unsigned.to_string().into()), 401),
            ("unsigned and malformed", callback(json, "{".into()), 401),
            ("signed and malformed", signed("{"), 400),
            ("signed and empty", signed("{}"), 422),
            ("form", callback("application/x-www-form-urlencoded", "a=b".into()), 415),
            ("too long", callback(json, vec![b' '; 64 * 1024 + 1].into()), 413),
            ("of alipay", Request::post("/v1/callbacks/alipay").body("{}".into()).expect("a request"), 404),
            ("of no channel", Request::post("/v1/callbacks/x").body("{}".into()).expect("a request"), 404),
        ],
    )
    .await;
}
