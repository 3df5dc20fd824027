//! Bad input at pay-service.

use reqwest::Method;
use serde_json::{Value, json};

use super::cases::{Case, Endpoint, no_amounts};
use super::{NEVER_MADE, Scene};
use crate::harness::{OPERATOR_KEY, SHOP_KEY};

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = recharges();
    cases.extend(queries(scene));
    cases.extend(callbacks(scene));
    cases
}

fn recharges() -> Vec<Case> {
    let endpoint = Endpoint {
        method: Method::POST,
        path: "/v1/recharges".to_owned(),
        key: SHOP_KEY,
        valid: json!({ "merchant_order_no": "bad-1", "account_no": "till-7", "amount": 100 }),
        required: &["merchant_order_no", "account_no", "amount"],
    };
    let long = |length| json!("x".repeat(length));
    let mut cases = endpoint.usual_cases();
    cases.extend(endpoint.wrong_values("amount", no_amounts()));
    cases.extend(endpoint.wrong_values("amount", [Value::Null]));
    cases.extend(
        endpoint.wrong_values("merchant_order_no", [json!(7), json!(""), long(65), json!("a\u{0}b")]),
    );
    cases.extend(endpoint.wrong_values("account_no", [json!(["a"]), json!(""), long(65)]));
    cases.extend(endpoint.wrong_values("currency", [json!("cny"), json!("ZZZ"), json!(""), json!(156)]));
    cases.extend(endpoint.wrong_values("channel", [json!("carrier-pigeon"), json!(1)]));
    cases.extend(endpoint.wrong_values("attach", [long(1025), json!("ü".repeat(513)), json!({})]));
    let order = r#"{"merchant_order_no":"taken","account_no":"till-7","amount":6}"#;
    cases.push(Case::send_text(Method::POST, "/v1/recharges", Some(SHOP_KEY), order, 409));
    let nobody = r#"{"merchant_order_no":"bad-2","account_no":"till-7","amount":6}"#;
    cases.push(Case::send_text(Method::POST, "/v1/recharges", Some(OPERATOR_KEY), nobody, 422));
    cases
}

fn queries(scene: &Scene) -> Vec<Case> {
    let foreign = format!("/v1/payresult/{}", scene.tx_no);
    let mut cases = vec![
        Case::get(foreign, SHOP_KEY, 404),
        Case::get(format!("/v1/payresult/{NEVER_MADE}"), OPERATOR_KEY, 404),
        Case::get("/v1/payresult/not-an-id", OPERATOR_KEY, 404),
        Case::get("/v1/payresult", SHOP_KEY, 400),
        Case::get("/v1/payresult?merchant_order_no=never", SHOP_KEY, 404),
        Case::get("/v1/recharges", "no-such-key", 401),
        Case::bare(Method::GET, "/v1/recharges", None, 401),
        Case::bare(Method::PUT, "/v1/recharges", Some(SHOP_KEY), 405),
        Case::get("/v1/refunds", SHOP_KEY, 404),
    ];
    let wrong = [
        "cursor=xyz",
        "cursor=AAAA",
        "limit=0",
        "limit=201",
        "limit=many",
        "limit=-1",
        "status=lost",
        "created_from=yesterday",
        "colour=red",
    ];
    cases.extend(wrong.map(|query| Case::get(format!("/v1/recharges?{query}"), SHOP_KEY, 400)));
    cases
}

fn callbacks(scene: &Scene) -> Vec<Case> {
    let body = format!(r#"{{"tx_no":"{}","amount":100,"currency":"CNY","result":"failed"}}"#, scene.tx_no);
    let call = |path, status| Case::send_text(Method::POST, path, None, &body, status);
    vec![
        call("/v1/callbacks/sandbox", 401),
        call("/v1/callbacks/sandbox", 401)
            .with_header("webhook-id", "1")
            .with_header("webhook-timestamp", "1")
            .with_header("webhook-signature", "v1,AAAA"),
        call("/v1/callbacks/carrier-pigeon", 404),
        call("/v1/callbacks/alipay", 404),
    ]
}
