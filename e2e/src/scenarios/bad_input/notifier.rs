//! Bad input at the notifier.

use reqwest::Method;
use serde_json::{Value, json};

use super::cases::{Case, Endpoint};
use super::{NEVER_MADE, Scene};
use crate::harness::{OPERATOR_KEY, SHOP_KEY};

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = creation(scene);
    cases.extend(change(scene));
    cases.extend(reading(scene));
    cases.extend(operating(scene));
    cases
}

fn creation(scene: &Scene) -> Vec<Case> {
    let endpoint = Endpoint {
        method: Method::POST,
        path: "/v1/subscriptions".to_owned(),
        key: SHOP_KEY,
        valid: json!({ "name": "bad", "url": scene.stack.receiver.url("/bad"), "event_types": ["*"] }),
        required: &["name", "url", "event_types"],
    };
    let mut cases = endpoint.usual_cases();
    for (field, values) in wrong_fields() {
        cases.extend(endpoint.wrong_values(field, values));
    }
    let taken = json!({ "name": "all", "url": scene.stack.receiver.url("/x"), "event_types": ["*"] });
    let taken = taken.to_string();
    cases.push(Case::send_text(Method::POST, "/v1/subscriptions", Some(OPERATOR_KEY), &taken, 409));
    cases
}

fn wrong_fields() -> Vec<(&'static str, Vec<Value>)> {
    let long = |length| json!("x".repeat(length));
    vec![
        ("name", vec![json!(""), long(65), json!(7)]),
        (
            "url",
            vec![
                json!("not a url"),
                json!("/relative"),
                json!("ftp://127.0.0.1/x"),
                json!("http://user:secret@127.0.0.1/x"),
                json!(format!("http://127.0.0.1/{}", "x".repeat(2100))),
            ],
        ),
        (
            "event_types",
            vec![json!([]), json!("*"), json!(["order paid"]), json!([""]), json!(vec!["a.b"; 51])],
        ),
        ("ladder", vec![json!([]), json!(["500ms"]), json!(["25h"]), json!(vec!["1s"; 21]), json!("steep")]),
        ("ack", vec![json!("handshake"), json!({ "json": { "pointer": "code" } }), json!(200)]),
        ("timeout", vec![json!("0s"), json!("31s"), json!("soon"), json!(5)]),
        ("max_in_flight", vec![json!(0), json!(1001), json!("many"), json!(-1)]),
        ("rate_limit", vec![json!(0), json!(10_001), json!(1.5)]),
        (
            "headers",
            vec![json!({ "host": "x" }), json!({ "webhook-id": "x" }), json!({ "a b": "x" }), json!([])],
        ),
        ("description", vec![long(501), json!(1)]),
    ]
}

fn change(scene: &Scene) -> Vec<Case> {
    let endpoint = Endpoint {
        method: Method::PATCH,
        path: format!("/v1/subscriptions/{}", scene.subscriber.id),
        key: OPERATOR_KEY,
        valid: json!({ "description": "changed" }),
        required: &[],
    };
    let mut cases = endpoint.usual_cases();
    for (field, values) in wrong_fields() {
        cases.extend(endpoint.wrong_values(field, values));
    }
    cases.extend(endpoint.wrong_values("state", [json!("asleep"), json!(1)]));
    for method in [Method::GET, Method::DELETE] {
        cases.push(Case::bare(method, endpoint.path.clone(), Some(SHOP_KEY), 404));
    }
    let body = endpoint.valid.to_string();
    cases.push(Case::send_text(Method::PATCH, &endpoint.path, Some(SHOP_KEY), &body, 404));
    let unknown = format!("/v1/subscriptions/{NEVER_MADE}");
    cases.push(Case::send_text(Method::PATCH, &unknown, Some(OPERATOR_KEY), &body, 404));
    cases
}

fn reading(scene: &Scene) -> Vec<Case> {
    let mut cases = vec![
        Case::get(format!("/v1/notifications/{}", scene.notification), SHOP_KEY, 404),
        Case::get(format!("/v1/notifications/{NEVER_MADE}"), OPERATOR_KEY, 404),
        Case::get("/v1/notifications/7", OPERATOR_KEY, 404),
        Case::get("/v1/subscriptions?cursor=xyz", OPERATOR_KEY, 400),
        Case::get("/v1/subscriptions?limit=0", OPERATOR_KEY, 400),
        Case::bare(Method::GET, "/v1/subscriptions", None, 401),
        Case::bare(Method::GET, "/v1/notifications", None, 401),
        Case::bare(Method::DELETE, "/v1/notifications", Some(OPERATOR_KEY), 405),
    ];
    let wrong = [
        "cursor=xyz",
        "limit=1000",
        "state=lost",
        "state=held,lost",
        "failure_class=luck",
        "event_type=a%20b",
        "subscription_id=7",
        "created_to=tomorrow",
        "colour=red",
    ];
    cases.extend(wrong.map(|query| Case::get(format!("/v1/notifications?{query}"), OPERATOR_KEY, 400)));
    let wrong = ["cursor=xyz", "limit=1000", "subscription_id=7", "merchant=a%20b", "colour=red"];
    cases
        .extend(wrong.map(|query| Case::get(format!("/v1/notifications/counts?{query}"), OPERATOR_KEY, 400)));
    cases.push(Case::bare(Method::GET, "/v1/notifications/counts", None, 401));
    cases
}

fn operating(scene: &Scene) -> Vec<Case> {
    let notification = format!("/v1/notifications/{}", scene.notification);
    let resend = format!("{notification}/resend");
    let cancel = format!("{notification}/cancel");
    let post =
        |path: &str, key, body: &str, status| Case::send_text(Method::POST, path, Some(key), body, status);
    let long = json!({ "reason": "x".repeat(2000) }).to_string();
    let rotate = format!("/v1/subscriptions/{}/rotate-secret", scene.subscriber.id);
    let test = format!("/v1/subscriptions/{}/test", scene.subscriber.id);
    let mut cases = vec![
        post(&resend, SHOP_KEY, "{}", 404),
        post(&resend, "no-such-key", "{}", 401),
        post(&resend, OPERATOR_KEY, "{", 400),
        post(&resend, OPERATOR_KEY, r#"{"reason":7}"#, 422),
        post(&resend, OPERATOR_KEY, r#"{"why":"x"}"#, 422),
        post(&resend, OPERATOR_KEY, &long, 422),
        post(&format!("/v1/notifications/{NEVER_MADE}/resend"), OPERATOR_KEY, "{}", 404),
        post(&cancel, SHOP_KEY, "{}", 404),
        post(&cancel, OPERATOR_KEY, "{}", 409),
        post(&rotate, OPERATOR_KEY, r#"{"overlap":"soon"}"#, 422),
        post(&rotate, OPERATOR_KEY, r#"{"overlap":24}"#, 422),
        post(&rotate, SHOP_KEY, "{}", 404),
        post(&test, SHOP_KEY, "{}", 404),
        post(&test, OPERATOR_KEY, r#"{"url":"http://127.0.0.1/"}"#, 422),
        Case::get(format!("/v1/replays/{NEVER_MADE}"), OPERATOR_KEY, 404),
        Case::get(format!("/v1/cancellations/{NEVER_MADE}"), OPERATOR_KEY, 404),
    ];
    cases.extend(bulks(scene));
    cases
}

/// Replays and cancellations.
fn bulks(scene: &Scene) -> Vec<Case> {
    let mut cases = Vec::new();
    // The operator may replay every subscription; a merchant and a cancellation name one.
    let named: &[&str] = &["subscription_id"];
    for (path, required, key) in
        [("/v1/replays", &[][..], SHOP_KEY), ("/v1/cancellations", named, OPERATOR_KEY)]
    {
        cases.push(Case::send_text(Method::POST, path, Some(key), "{}", 422));
        let endpoint = Endpoint {
            method: Method::POST,
            path: path.to_owned(),
            key: OPERATOR_KEY,
            valid: json!({ "subscription_id": scene.subscriber.id }),
            required,
        };
        cases.extend(endpoint.usual_cases());
        cases.extend(endpoint.wrong_values("subscription_id", [json!("7"), json!(7)]));
        cases.extend(
            endpoint.wrong_values("state", [json!("lost"), json!(1), json!([]), json!(["held", "lost"])]),
        );
        cases.extend(endpoint.wrong_values("failure_class", [json!("luck"), json!(1), json!([])]));
        cases.extend(endpoint.wrong_values("event_type", [json!("a b"), json!(["a"]), json!("a*")]));
        cases.extend(endpoint.wrong_values("created_from", [json!("yesterday"), json!(1)]));
        let own = endpoint.valid.to_string();
        let unknown = json!({ "subscription_id": NEVER_MADE }).to_string();
        cases.push(Case::send_text(Method::POST, path, Some(SHOP_KEY), &own, 404));
        cases.push(Case::send_text(Method::POST, path, Some(OPERATOR_KEY), &unknown, 404));
        cases.push(Case::get(format!("{path}?limit=0"), OPERATOR_KEY, 400));
        cases.push(Case::get(format!("{path}?state=running"), OPERATOR_KEY, 400));
    }
    cases
}
