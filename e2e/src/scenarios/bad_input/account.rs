//! Bad input at account-service.

use reqwest::Method;
use serde_json::{Value, json};

use super::cases::{Case, Endpoint, no_amounts};
use super::{ACCOUNT, Scene};
use crate::harness::{ACCOUNT_KEY, OPERATOR_KEY, SHOP_KEY, signature};

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = accounts();
    cases.extend(recharges());
    cases.extend(queries(scene));
    cases.extend(webhooks(scene));
    cases
}

fn accounts() -> Vec<Case> {
    let endpoint = Endpoint {
        method: Method::POST,
        path: "/v1/accounts".to_owned(),
        key: OPERATOR_KEY,
        valid: json!({ "account_no": "62220002", "account_name": "Bad" }),
        required: &["account_no", "account_name"],
    };
    let long = |length| json!("x".repeat(length));
    let mut cases = endpoint.usual_cases();
    cases.extend(endpoint.wrong_values("account_no", [json!(""), long(65), json!(62_220_002), Value::Null]));
    cases.extend(endpoint.wrong_values("account_name", [json!(""), long(2000), json!(["x"])]));
    let post = |key, body, status| Case::send_text(Method::POST, "/v1/accounts", Some(key), body, status);
    cases.push(post(OPERATOR_KEY, r#"{"account_no":"62220001","account_name":"Other"}"#, 409));
    cases.push(post(SHOP_KEY, r#"{"account_no":"62220002","account_name":"Bad"}"#, 403));
    cases
}

fn recharges() -> Vec<Case> {
    let endpoint = Endpoint {
        method: Method::POST,
        path: format!("/v1/accounts/{ACCOUNT}/recharges"),
        key: ACCOUNT_KEY,
        valid: json!({ "amount": 100 }),
        required: &["amount"],
    };
    let mut cases = endpoint.usual_cases();
    cases.extend(endpoint.wrong_values("amount", no_amounts()));
    cases.extend(endpoint.wrong_values("currency", [json!("ZZZ"), json!(1)]));
    cases.extend(endpoint.wrong_values("channel", [json!("carrier-pigeon"), json!(1)]));
    cases.extend(endpoint.wrong_values("attach", [json!("x".repeat(1025))]));
    let unknown = "/v1/accounts/62220002/recharges";
    cases.push(Case::send_text(Method::POST, unknown, Some(OPERATOR_KEY), r#"{"amount":1}"#, 404));
    cases
}

fn queries(scene: &Scene) -> Vec<Case> {
    vec![
        Case::get(format!("/v1/payresult/{}", scene.tx_no), "no-such-key", 401),
        Case::get(format!("/v1/payresult/{}", scene.tx_no), SHOP_KEY, 403),
        Case::get("/v1/payresult/not-an-id", OPERATOR_KEY, 404),
        Case::get("/v1/accounts/62220002", OPERATOR_KEY, 404),
        Case::get("/v1/accounts/62220002/credits", OPERATOR_KEY, 404),
        Case::get(format!("/v1/accounts/{ACCOUNT}/credits?cursor=xyz"), OPERATOR_KEY, 400),
        Case::get(format!("/v1/accounts/{ACCOUNT}/credits?limit=0"), OPERATOR_KEY, 400),
        Case::bare(Method::DELETE, format!("/v1/accounts/{ACCOUNT}"), Some(OPERATOR_KEY), 405),
    ]
}

/// A forged credit: unsigned, signed with another secret, and signed long ago.
fn webhooks(scene: &Scene) -> Vec<Case> {
    let body = json!({
        "type": "recharge.succeeded", "timestamp": "2026-01-01T00:00:00Z",
        "data": {
            "tx_no": super::NEVER_MADE, "merchant": "account-service", "merchant_order_no": "forged",
            "account_no": ACCOUNT, "amount": 1_000_000, "currency": "CNY", "channel": "instant",
            "status": "succeeded", "attach": null, "created_at": "2026-01-01T00:00:00Z",
            "settled_at": "2026-01-01T00:00:00Z", "failure": null,
        },
    });
    let body = body.to_string();
    let forged = |timestamp| {
        let signed = signature::headers_at(&scene.subscriber.key, "forged", &body, timestamp);
        let case = Case::send_text(Method::POST, "/v1/notifications", None, &body, 401);
        signed.iter().fold(case, |case, (name, value)| case.with_header(name, value))
    };
    vec![
        Case::send_text(Method::POST, "/v1/notifications", None, &body, 401),
        Case::send_text(Method::POST, "/v1/notifications", Some(OPERATOR_KEY), &body, 401),
        forged(signature::now()),
        forged(signature::now() - 3_600),
    ]
}
