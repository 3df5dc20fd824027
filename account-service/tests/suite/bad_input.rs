//! Every endpoint against bad input: the exact status, problem+json, nothing changed.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use crate::support::database::Database;
use crate::support::service::{OPERATOR, OWN, SHOP, World, request};
use crate::support::{as_json, open_account, paid, tx};

const ACCOUNTS: &str = "/v1/accounts";
const RECHARGES: &str = "/v1/accounts/A/recharges";
const REQUEUE: &str = "/v1/dead-letters/0190a0b0-0000-7000-8000-000000000000/requeue";
const RECONCILE: &str = "/v1/reconciliations";
const CANCEL: &str = "/v1/reconciliations/0190a0b0-0000-7000-8000-000000000000/cancel";
const RESOLVE: &str = "/v1/exceptions/0190a0b0-0000-7000-8000-000000000000/resolve";

/// Bodies for `POST /v1/accounts` and `POST …/recharges`: status, and the field that is named.
fn bad_bodies() -> Vec<(&'static str, String, u16, &'static str)> {
    let long = "x".repeat(65);
    let mut cases: Vec<(&str, String, u16, &str)> = vec![
        (ACCOUNTS, "{".into(), 400, ""),
        (ACCOUNTS, String::new(), 400, ""),
        (ACCOUNTS, "{\"account_no\":\"B\",\"account_name\":\"b\"}x".into(), 400, ""),
        (ACCOUNTS, "[]".into(), 422, "account_no"),
        (ACCOUNTS, "\"text\"".into(), 422, "body"),
        (ACCOUNTS, "{}".into(), 422, "account_no"),
        (ACCOUNTS, r#"{"account_no":"B"}"#.into(), 422, "account_name"),
        (ACCOUNTS, r#"{"account_no":7,"account_name":"b"}"#.into(), 422, "account_no"),
        (ACCOUNTS, r#"{"account_no":null,"account_name":"b"}"#.into(), 422, "account_no"),
        (ACCOUNTS, r#"{"account_no":"B","account_name":"b","balance":1}"#.into(), 422, "balance"),
        (ACCOUNTS, r#"{"account_no":"B","account_no":"C","account_name":"b"}"#.into(), 422, "account_no"),
        (ACCOUNTS, r#"{"account_no":"","account_name":"b"}"#.into(), 422, "account_no"),
        (ACCOUNTS, r#"{"account_no":"B\u0000","account_name":"b"}"#.into(), 422, "account_no"),
        (ACCOUNTS, r#"{"account_no":"B","account_name":"\n"}"#.into(), 422, "account_name"),
        (ACCOUNTS, format!(r#"{{"account_no":"{long}","account_name":"b"}}"#), 422, "account_no"),
        (
            ACCOUNTS,
            json!({ "account_no": "B", "account_name": "x".repeat(201) }).to_string(),
            422,
            "account_name",
        ),
        (RECHARGES, "{".into(), 400, ""),
        (RECHARGES, "{}".into(), 422, "amount"),
        (RECHARGES, r#"{"amount":1,"tip":1}"#.into(), 422, "tip"),
        (RECHARGES, r#"{"amount":1,"merchant":"shop"}"#.into(), 422, "merchant"),
        (RECHARGES, r#"{"amount":1,"currency":"cny"}"#.into(), 422, "currency"),
        (RECHARGES, r#"{"amount":1,"currency":"USD"}"#.into(), 422, "currency"),
        (RECHARGES, r#"{"amount":1,"currency":156}"#.into(), 422, "currency"),
        (RECHARGES, r#"{"amount":1,"channel":""}"#.into(), 422, "channel"),
        (RECHARGES, json!({ "amount": 1, "channel": "c".repeat(33) }).to_string(), 422, "channel"),
        (RECHARGES, json!({ "amount": 1, "attach": "é".repeat(513) }).to_string(), 422, "attach"),
        (RECHARGES, json!({ "amount": 1, "attach": "\0" }).to_string(), 422, "attach"),
    ];
    let long = "x".repeat(501);
    cases.extend([
        (REQUEUE, "{".into(), 400, ""),
        (REQUEUE, r#"{"reason":""}"#.into(), 422, "reason"),
        (REQUEUE, r#"{"reason":"a\u0000"}"#.into(), 422, "reason"),
        (REQUEUE, r#"{"reason":7}"#.into(), 422, "reason"),
        (REQUEUE, r#"{"why":"x"}"#.into(), 422, "why"),
        (REQUEUE, format!(r#"{{"reason":"{long}"}}"#), 422, "reason"),
        (RECONCILE, "{".into(), 400, ""),
        (RECONCILE, "{}".into(), 422, "from"),
        (RECONCILE, r#"{"from":"2024-06-10T00:00:00Z"}"#.into(), 422, "to"),
        (RECONCILE, r#"{"from":"yesterday","to":"2024-06-11T00:00:00Z"}"#.into(), 422, "from"),
        (RECONCILE, r#"{"from":1717977600,"to":"2024-06-11T00:00:00Z"}"#.into(), 422, "from"),
        (
            RECONCILE,
            r#"{"from":"2024-06-10T00:00:00.0001Z","to":"2024-06-11T00:00:00Z"}"#.into(),
            422,
            "from",
        ),
        (RECONCILE, r#"{"from":"1969-06-10T00:00:00Z","to":"2024-06-11T00:00:00Z"}"#.into(), 422, "from"),
        (RECONCILE, r#"{"from":"2024-06-10T00:00:00Z","to":"2024-06-10T00:00:00Z"}"#.into(), 422, "to"),
        (
            RECONCILE,
            r#"{"from":"2024-06-10T00:00:00Z","to":"2024-06-11T00:00:00.0000001Z"}"#.into(),
            422,
            "to",
        ),
        (RECONCILE, r#"{"from":"2024-06-10T00:00:00Z","to":"2025-12-31T23:59:00.001Z"}"#.into(), 422, "to"),
        (RECONCILE, r#"{"from":"2024-06-10T00:00:00Z","to":"9999-12-31T23:59:59Z"}"#.into(), 422, "to"),
        (
            RECONCILE,
            r#"{"from":"2024-06-10T00:00:00Z","to":"2024-06-11T00:00:00Z","dry":true}"#.into(),
            422,
            "dry",
        ),
        (RESOLVE, "{".into(), 400, ""),
        (RESOLVE, r#"{"reason":"x"}"#.into(), 422, "action"),
        (RESOLVE, r#"{"action":"dismiss"}"#.into(), 422, "reason"),
        (RESOLVE, r#"{"action":"forget","reason":"x"}"#.into(), 422, "action"),
        (RESOLVE, r#"{"action":"dismiss","reason":""}"#.into(), 422, "reason"),
        (RESOLVE, r#"{"action":"dismiss","reason":"a\u0000"}"#.into(), 422, "reason"),
        (RESOLVE, r#"{"action":"dismiss","reason":7}"#.into(), 422, "reason"),
        (RESOLVE, r#"{"action":"dismiss","reason":"x","amount":1}"#.into(), 422, "amount"),
        (RESOLVE, format!(r#"{{"action":"dismiss","reason":"{long}"}}"#), 422, "reason"),
    ]);
    let amounts =
        ["0", "-1", "1.5", "1e3", "10000000000000", "\"100\"", "null", "[1]", "99999999999999999999999"];
    cases.extend(amounts.map(|amount| (RECHARGES, format!("{{\"amount\":{amount}}}"), 422, "amount")));
    cases
}

fn bare(method: Method, path: &str, key: &str) -> Request<Body> {
    request(method, path, key, Body::empty())
}

/// Requests that are wrong before their body is looked at.
fn bad_requests() -> Vec<(u16, Request<Body>)> {
    let unknown = format!("/v1/accounts/{}", "x".repeat(65));
    let wish = || Body::from(r#"{"amount":1}"#);
    let dismissal = || Body::from(r#"{"action":"dismiss","reason":"x"}"#);
    let mut plain = request(Method::POST, RECHARGES, OPERATOR, wish());
    plain.headers_mut().insert("content-type", "text/plain".parse().expect("a header"));
    let mut untyped = request(Method::POST, ACCOUNTS, OPERATOR, wish());
    untyped.headers_mut().remove("content-type");
    let mut basic = bare(Method::GET, "/v1/accounts/A", "");
    basic.headers_mut().insert("authorization", "Basic b3A6".parse().expect("a header"));
    let mut all = vec![
        (401, basic),
        (415, plain),
        (415, untyped),
        (401, request(Method::POST, ACCOUNTS, "", Body::from("{"))),
        (401, request(Method::POST, RECHARGES, "wrong", Body::from("{"))),
        (403, request(Method::POST, RECHARGES, SHOP, wish())),
        (403, request(Method::POST, ACCOUNTS, SHOP, Body::from("{"))),
        (404, request(Method::POST, "/v1/accounts/nobody/recharges", OPERATOR, wish())),
        (401, bare(Method::POST, REQUEUE, "")),
        (403, bare(Method::POST, REQUEUE, OWN)),
        (403, bare(Method::POST, REQUEUE, SHOP)),
        (404, bare(Method::POST, REQUEUE, OPERATOR)),
        (404, bare(Method::POST, "/v1/dead-letters/7/requeue", OPERATOR)),
        (401, request(Method::POST, RECONCILE, "", Body::from("{"))),
        (403, request(Method::POST, RECONCILE, SHOP, Body::from("{"))),
        (401, bare(Method::POST, CANCEL, "")),
        (403, bare(Method::POST, CANCEL, SHOP)),
        (404, bare(Method::POST, CANCEL, OPERATOR)),
        (404, bare(Method::POST, "/v1/reconciliations/7/cancel", OWN)),
        (401, request(Method::POST, RESOLVE, "", dismissal())),
        (403, request(Method::POST, RESOLVE, OWN, dismissal())),
        (403, request(Method::POST, RESOLVE, SHOP, dismissal())),
        (404, request(Method::POST, RESOLVE, OPERATOR, dismissal())),
        (404, request(Method::POST, "/v1/exceptions/7/resolve", OPERATOR, dismissal())),
        (404, request(Method::POST, "/v1/accounts/%00/recharges", OPERATOR, wish())),
    ];
    let answered = [
        (404, Method::GET, unknown.as_str()),
        (404, Method::GET, "/v1/accounts/nobody"),
        (404, Method::GET, "/v1/accounts/%00"),
        (404, Method::GET, "/v1/accounts/%FF"),
        (404, Method::GET, "/v1/accounts/nobody/credits"),
        (404, Method::GET, "/v1/accounts/"),
        (404, Method::GET, "/v1/payresult/7"),
        (404, Method::GET, "/v1/payresult/%00"),
        (404, Method::GET, "/v2/accounts"),
        (405, Method::GET, ACCOUNTS),
        (405, Method::DELETE, "/v1/accounts/A"),
        (405, Method::GET, "/v1/notifications"),
        (405, Method::POST, "/v1/audit"),
        (405, Method::GET, RESOLVE),
        (404, Method::GET, "/v1/exceptions/7"),
        (404, Method::GET, "/v1/exceptions/0190a0b0-0000-7000-8000-000000000000"),
        (400, Method::GET, "/v1/exceptions?state=pending"),
        (400, Method::GET, "/v1/exceptions?kind=strange"),
        (400, Method::GET, "/v1/exceptions?tx_no=7"),
        (400, Method::GET, "/v1/exceptions?limit=0"),
        (400, Method::GET, "/v1/exceptions?cursor=AAAA"),
        (400, Method::GET, "/v1/exceptions?colour=red"),
        (405, Method::DELETE, RECONCILE),
        (405, Method::GET, CANCEL),
        (400, Method::GET, "/v1/reconciliations?limit=0"),
        (400, Method::GET, "/v1/reconciliations?cursor=AAAA"),
        (400, Method::GET, "/v1/reconciliations?state=running"),
        (404, Method::GET, "/v1/reconciliations/7"),
        (404, Method::GET, "/v1/reconciliations/0190a0b0-0000-7000-8000-000000000000"),
        (404, Method::GET, "/v1/reconciliations/0190a0b0-0000-7000-8000-000000000000/differences"),
        (
            400,
            Method::GET,
            "/v1/reconciliations/0190a0b0-0000-7000-8000-000000000000/differences?kind=strange",
        ),
        (400, Method::GET, "/v1/reconciliations/0190a0b0-0000-7000-8000-000000000000/differences?limit=201"),
        (
            400,
            Method::GET,
            "/v1/reconciliations/0190a0b0-0000-7000-8000-000000000000/differences?cursor=AAAA",
        ),
        (405, Method::GET, REQUEUE),
        (405, Method::POST, "/v1/dead-letters"),
        (404, Method::GET, "/v1/dead-letters/7"),
        (404, Method::GET, "/v1/dead-letters/0190a0b0-0000-7000-8000-000000000000"),
        (400, Method::GET, "/v1/dead-letters?limit=0"),
        (400, Method::GET, "/v1/dead-letters?cursor=AAAA"),
        (400, Method::GET, "/v1/dead-letters?state=open"),
        (400, Method::GET, "/v1/requeues?limit=201"),
        (400, Method::GET, "/v1/accounts/A/credits?limit=0"),
        (400, Method::GET, "/v1/accounts/A/credits?limit=201"),
        (400, Method::GET, "/v1/accounts/A/credits?limit=-1"),
        (400, Method::GET, "/v1/accounts/A/credits?limit=ten"),
        (400, Method::GET, "/v1/accounts/A/credits?cursor=AAAA"),
        (400, Method::GET, "/v1/accounts/A/credits?cursor=%00"),
        (400, Method::GET, "/v1/accounts/A/credits?colour=red"),
    ];
    all.extend(answered.map(|(status, method, path)| (status, bare(method, path, OPERATOR))));
    all
}

pub async fn bad_input_is_refused_with_its_status_and_changes_nothing(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    for (path, body, status, field) in bad_bodies() {
        let answer = world.call(request(Method::POST, path, OPERATOR, Body::from(body.clone()))).await;
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
        assert_eq!(answer.content_type, "application/problem+json", "{path} {body}");
        if status == 422 && body != "[]" {
            assert_eq!(answer.body["errors"][0]["field"], field, "{path} {body}");
        }
    }
    for (status, request) in bad_requests() {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = world.call(request).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(answer.content_type, "application/problem+json", "{what}");
        assert_eq!(answer.body["status"], status, "{what}");
    }
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 0]);
    assert_eq!(world.database.number("SELECT count(*) FROM reconciliations").await, 0);
}

pub async fn a_body_over_the_limit_is_refused(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    let body = || json!({ "account_no": "B", "account_name": "b".repeat(70_000) }).to_string();
    for path in [ACCOUNTS, RECHARGES, "/v1/notifications"] {
        let announced = request(Method::POST, path, OPERATOR, Body::from(body()));
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(body())]);
        let in_pieces = request(Method::POST, path, OPERATOR, Body::from_stream(pieces));
        for request in [announced, in_pieces] {
            let answer = world.call(request).await;
            assert_eq!((answer.status, &*answer.content_type), (413, "application/problem+json"), "{path}");
        }
    }
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 0]);
}

pub async fn bad_notifications_are_refused_and_change_nothing(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    let with = |field: &str, value: serde_json::Value| {
        let mut data = as_json(&paid(tx(1), "A", 1));
        data[field] = value;
        json!({ "type": "recharge.succeeded", "timestamp": "2026-01-01T00:00:00Z", "data": data }).to_string()
    };
    let mut without = as_json(&paid(tx(1), "A", 1));
    without.as_object_mut().expect("an object").remove("merchant");
    let cases = [
        (400, "{".to_owned()),
        (400, String::new()),
        (400, "hello".into()),
        (422, "{}".into()),
        (422, "[]".into()),
        (422, r#"{"type":"recharge.succeeded"}"#.into()),
        (422, r#"{"type":7,"data":{}}"#.into()),
        (422, r#"{"type":"recharge.succeeded","data":null}"#.into()),
        (422, r#"{"type":"recharge.succeeded","data":"text"}"#.into()),
        (422, json!({ "type": "recharge.succeeded", "data": without }).to_string()),
        (422, with("tx_no", json!("7"))),
        (422, with("amount", json!(0))),
        (422, with("amount", json!(-1))),
        (422, with("amount", json!(1.5))),
        (422, with("amount", json!("1"))),
        (422, with("amount", json!(10_000_000_000_000_i64))),
        (422, with("currency", json!("yuan"))),
        (422, with("status", json!("maybe"))),
        (422, with("status", json!("pending"))),
        (422, with("account_no", json!("\u{0}"))),
        (422, with("account_no", json!("nobody"))),
        (422, with("merchant", json!(7))),
    ];
    for (status, body) in cases {
        let answer = world.call(world.signed("event-1", body.clone())).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert_eq!(answer.content_type, "application/problem+json", "{body}");
    }
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 0]);
}
