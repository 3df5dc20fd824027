//! Bad input: the right status, a problem that names what is wrong, and nothing changed.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use super::harness::{Harness, OPERATOR, SHOP, path_of};

/// Every endpoint behind a key: method, path, and whether it reads a body.
fn endpoints(subscription: &str, notification: &str) -> Vec<(&'static str, String, bool)> {
    vec![
        ("POST", "/v1/subscriptions".into(), true),
        ("GET", "/v1/subscriptions".into(), false),
        ("GET", subscription.into(), false),
        ("PATCH", subscription.into(), true),
        ("DELETE", subscription.into(), false),
        ("POST", format!("{subscription}/rotate-secret"), true),
        ("POST", format!("{subscription}/test"), true),
        ("GET", format!("{subscription}/audits"), false),
        ("GET", "/v1/notifications".into(), false),
        ("GET", "/v1/notifications/counts".into(), false),
        ("GET", notification.into(), false),
        ("POST", format!("{notification}/resend"), true),
        ("POST", format!("{notification}/cancel"), true),
        ("POST", "/v1/replays".into(), true),
        ("GET", "/v1/replays".into(), false),
        ("GET", "/v1/replays/019b76da-a800-7000-8000-000000000000".into(), false),
        ("POST", "/v1/cancellations".into(), true),
        ("GET", "/v1/cancellations".into(), false),
        ("GET", "/v1/cancellations/019b76da-a800-7000-8000-000000000000".into(), false),
    ]
}

async fn world() -> (Harness, String, String) {
    let harness = Harness::new().await;
    let subscription = harness.subscribe(SHOP, "orders").await;
    let notification = harness.notify(&subscription, "tx-1").await;
    (harness, path_of(&subscription), format!("/v1/notifications/{notification}"))
}

#[tokio::test]
async fn no_key_or_a_wrong_one_answers_401_before_anything_else() {
    let (harness, subscription, notification) = world().await;
    let before = harness.everything().await;
    for (method, path, _) in endpoints(&subscription, &notification) {
        harness.raw("wrong-key", method, &path, Some("{")).await.refused(401, None);
        let request = Request::builder().method(method).uri(&path).body(Body::empty()).expect("a request");
        let answer = harness.send(request).await;
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
        answer.refused(401, None);
    }
    assert_eq!(harness.everything().await, before);
}

#[tokio::test]
async fn a_body_that_is_no_json_too_large_or_of_another_type_is_refused_by_every_endpoint() {
    let (harness, subscription, notification) = world().await;
    let before = harness.everything().await;
    let large = format!("{{\"reason\": \"{}\"}}", "x".repeat(70_000));
    for (method, path, _) in endpoints(&subscription, &notification).into_iter().filter(|e| e.2) {
        for text in ["{", "{\"a\":", "nonsense", "{} {}", "\u{0}"] {
            harness.raw(SHOP, method, &path, Some(text)).await.refused(400, None);
        }
        for text in ["[1]", "[\"x\"]", "7", "\"text\"", "{\"unknown\":1}"] {
            harness.raw(SHOP, method, &path, Some(text)).await.refused(422, None);
        }
        harness.raw(SHOP, method, &path, Some("{\"unknown\":1}")).await.refused(422, Some("unknown"));
        harness.raw(SHOP, method, &path, Some(&large)).await.refused(413, None);
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .header(header::AUTHORIZATION, format!("Bearer {SHOP}"))
            .header(header::CONTENT_TYPE, "text/plain")
            .body(Body::from("{}"))
            .expect("a request");
        harness.send(request).await.refused(415, None);
    }
    assert_eq!(harness.everything().await, before);
}

#[tokio::test]
async fn a_wrong_method_answers_405_and_an_unknown_path_404() {
    let (harness, subscription, notification) = world().await;
    for (method, path) in [
        ("PUT", "/v1/subscriptions".to_owned()),
        ("POST", subscription.clone()),
        ("GET", format!("{subscription}/rotate-secret")),
        ("GET", format!("{subscription}/test")),
        ("POST", format!("{subscription}/audits")),
        ("DELETE", "/v1/notifications".to_owned()),
        ("POST", "/v1/notifications/counts".to_owned()),
        ("PATCH", notification.clone()),
        ("GET", format!("{notification}/resend")),
        ("DELETE", "/v1/replays".to_owned()),
    ] {
        let answer = harness.call(OPERATOR, method, &path, None).await;
        assert!(answer.headers.contains_key(header::ALLOW), "{method} {path}");
        answer.refused(405, None);
    }
    for path in ["/", "/v1", "/v2/subscriptions", "/v1/subscriptions/", "/v1/notifications/x/y/z"] {
        harness.get(OPERATOR, path).await.refused(404, None);
    }
    for id in ["x", "019b76da", "019b76da-a800-7000-8000-000000000000", "%00"] {
        for path in ["/v1/subscriptions", "/v1/notifications", "/v1/replays", "/v1/cancellations"] {
            harness.get(OPERATOR, &format!("{path}/{id}")).await.refused(404, None);
        }
        let resend = format!("/v1/notifications/{id}/resend");
        harness.call(OPERATOR, "POST", &resend, None).await.refused(404, None);
    }
}

#[tokio::test]
async fn a_query_that_can_not_be_read_answers_400_naming_the_parameter() {
    let (harness, subscription, _) = world().await;
    let audits = format!("{subscription}/audits");
    let counts = "/v1/notifications/counts";
    for path in
        ["/v1/subscriptions", "/v1/notifications", counts, "/v1/replays", "/v1/cancellations", &audits]
    {
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=-1", "limit"),
            ("limit=many", "limit"),
            ("cursor=%21%21", "cursor"),
            ("cursor=AAAA", "cursor"),
            ("cursor=", "cursor"),
            ("colour=red", "colour"),
            ("merchant=a%20b", "merchant"),
        ] {
            harness.get(OPERATOR, &format!("{path}?{query}")).await.refused(400, Some(field));
        }
    }
    for (query, field) in [
        ("state=lost", "state"),
        ("state=", "state"),
        ("state=held,lost", "state"),
        ("state=held,", "state"),
        ("failure_class=", "failure_class"),
        ("failure_class=dns,luck", "failure_class"),
        ("event_type=", "event_type"),
        ("event_type=recharge*", "event_type"),
        ("event_type=a.*.b", "event_type"),
        ("subscription_id=7", "subscription_id"),
        ("created_from=yesterday", "created_from"),
        ("created_to=2026-13-01T00:00:00Z", "created_to"),
    ] {
        harness.get(OPERATOR, &format!("/v1/notifications?{query}")).await.refused(400, Some(field));
    }
    for (query, field) in
        [("subscription_id=7", "subscription_id"), ("state=held", "state"), ("name=x", "name")]
    {
        harness.get(OPERATOR, &format!("{counts}?{query}")).await.refused(400, Some(field));
    }
    harness.get(OPERATOR, "/v1/notifications?limit=1&limit=2").await.refused(400, None);
    let known = ["pending", "delivering", "held", "delivered", "exhausted", "cancelled", "undelivered"];
    let body = harness.get(OPERATOR, "/v1/notifications?state=lost").await.body.to_string();
    assert!(known.iter().all(|word| body.contains(word)), "{body}");
    let body = harness.get(OPERATOR, "/v1/notifications?failure_class=luck").await.body.to_string();
    assert!(["dns", "blocked_target", "proxy"].iter().all(|word| body.contains(word)), "{body}");
}

fn long(length: usize) -> String {
    "x".repeat(length)
}

/// Values that a subscription's fields must not have, with the field that the problem names.
fn bad_fields() -> Vec<(&'static str, Value, &'static str)> {
    let steps = |count| Value::from(vec!["1s"; count]);
    let headers = |count: usize| (0..count).map(|n| (format!("x-{n}"), json!("v"))).collect::<Value>();
    let json_ack = |pointer: &str, equals: Value| json!({ "json": { "pointer": pointer, "equals": equals } });
    let mut cases = vec![
        ("name", json!(""), "name"),
        ("name", json!(long(65)), "name"),
        ("name", json!("a\nb"), "name"),
        ("name", json!("a\0b"), "name"),
        ("name", json!(7), "name"),
        ("description", json!(long(501)), "description"),
        ("description", json!(""), "description"),
        ("event_types", json!([]), "event_types"),
        ("event_types", json!(vec!["a"; 51]), "event_types"),
        ("event_types", json!(["a b"]), "event_types"),
        ("event_types", json!(["recharge*"]), "event_types"),
        ("event_types", json!("recharge.*"), "event_types"),
        ("event_types", json!([7]), "event_types[0]"),
        ("ladder", steps(0), "ladder"),
        ("ladder", steps(21), "ladder"),
        ("ladder", json!(["500ms"]), "ladder"),
        ("ladder", json!(["25h"]), "ladder"),
        ("ladder", json!("weekly"), "ladder"),
        ("ladder", json!(7), "ladder"),
        ("ladder", json!(["soon"]), "ladder[0]"),
        ("ack", json!("always"), "ack"),
        ("ack", json!({ "body": "" }), "ack.body"),
        ("ack", json!({ "body": " success" }), "ack.body"),
        ("ack", json!({ "body": long(256) }), "ack.body"),
        ("ack", json!({ "body": 7 }), "ack.body"),
        ("ack", json_ack("code", json!(1)), "ack.json.pointer"),
        ("ack", json_ack(&format!("/{}", long(255)), json!(1)), "ack.json.pointer"),
        ("ack", json_ack("/code", json!([1])), "ack.json.equals"),
        ("ack", json_ack("/code", json!(long(256))), "ack.json.equals"),
        ("timeout", json!("999ms"), "timeout"),
        ("timeout", json!("31s"), "timeout"),
        ("timeout", json!("soon"), "timeout"),
        ("timeout", json!(10), "timeout"),
        ("max_in_flight", json!(0), "max_in_flight"),
        ("max_in_flight", json!(1001), "max_in_flight"),
        ("max_in_flight", json!(-1), "max_in_flight"),
        ("max_in_flight", json!(1.5), "max_in_flight"),
        ("max_in_flight", json!("1"), "max_in_flight"),
        ("rate_limit", json!(0), "rate_limit"),
        ("rate_limit", json!(10_001), "rate_limit"),
        ("headers", headers(21), "headers"),
        ("headers", json!({ "webhook-id": "x" }), "headers"),
        ("headers", json!({ "Content-Type": "x" }), "headers"),
        ("headers", json!({ "a b": "x" }), "headers"),
        ("headers", json!({ "x": "a\r\nb: c" }), "headers"),
        ("headers", json!({ "x": long(1025) }), "headers"),
        ("headers", json!({ "x": 7 }), "headers.x"),
        ("headers", json!(["x"]), "headers"),
    ];
    let urls = [
        "",
        "/hook",
        "shop.example",
        "ftp://a.example/",
        "https://u:p@a.example/",
        "http://a.example/#x",
        "javascript:alert(1)",
        "https://a\"b.example/",
        "https://{shop}.example/",
        "https://a`b/",
        "https://shop..example/",
    ];
    cases.extend(urls.map(|url| ("url", json!(url), "url")));
    cases.push(("url", json!(format!("https://a.example/{}", long(2048))), "url"));
    cases
}

#[tokio::test]
async fn a_subscription_that_breaks_a_rule_answers_422_naming_the_field_made_or_patched() {
    let (harness, subscription, _) = world().await;
    let before = harness.everything().await;
    for (name, value, field) in bad_fields() {
        let mut body = json!({ "name": "new", "url": "https://a.example/", "event_types": ["*"] });
        body[name] = value.clone();
        harness.post(SHOP, "/v1/subscriptions", body).await.refused(422, Some(field));
        harness.patch(SHOP, &subscription, json!({ name: value })).await.refused(422, Some(field));
    }
    for missing in ["name", "url", "event_types"] {
        let mut body = json!({ "name": "new", "url": "https://a.example/", "event_types": ["*"] });
        body.as_object_mut().expect("an object").remove(missing);
        harness.post(SHOP, "/v1/subscriptions", body).await.refused(422, Some(missing));
    }
    for field in
        ["name", "url", "event_types", "ladder", "ack", "timeout", "max_in_flight", "headers", "state"]
    {
        harness.patch(SHOP, &subscription, json!({ field: null })).await.refused(422, Some(field));
    }
    harness.patch(SHOP, &subscription, json!({ "state": "gone" })).await.refused(422, Some("state"));
    harness.patch(SHOP, &subscription, json!({ "merchant": "bank" })).await.refused(422, Some("merchant"));
    let body = json!({ "name": "n", "url": "https://a.example/", "event_types": ["*"], "merchant": "a b" });
    harness.post(OPERATOR, "/v1/subscriptions", body).await.refused(422, Some("merchant"));
    assert_eq!(harness.everything().await, before);
}

/// A body for every place that reads one, with `value` where something else belongs.
fn misplaced(subscription: &str, notification: &str, value: &Value) -> Vec<(String, Value)> {
    let fields = [
        "url",
        "event_types",
        "ladder",
        "ack",
        "timeout",
        "rate_limit",
        "headers",
        "merchant",
        "signature",
        "secret",
    ];
    let created = fields.map(|field| {
        let mut body = json!({ "name": "new", "url": "https://a.example/", "event_types": ["*"] });
        body[field] = value.clone();
        ("/v1/subscriptions".to_owned(), body)
    });
    let id = subscription.rsplit('/').next().expect("an id");
    let replayed = ["state", "failure_class", "event_type", "created_from"]
        .map(|field| ("/v1/replays".to_owned(), json!({ "subscription_id": id, field: value })));
    let acted = [
        (format!("{subscription}/rotate-secret"), json!({ "overlap": value })),
        (format!("{notification}/resend"), json!({ "reason": value, "why": value })),
    ];
    created.into_iter().chain(replayed).chain(acted).collect()
}

/// Who puts a secret, or a whole file, in the wrong place does not find it in the answer.
#[tokio::test]
async fn a_refusal_repeats_no_secret_and_nothing_long() {
    let (harness, subscription, notification) = world().await;
    for text in ["whsec_C2FVsBQIhrscChlQIMVmkpLs9IMKJ9dB".to_owned(), long(30_000)] {
        let mut refused = 0;
        let judge = |asked: &Value, answer: &Value| {
            let told = answer.to_string();
            assert!(told.len() < 2_000 && !told.contains("C2FVsBQ"), "{asked}: {told}");
        };
        for value in [json!(text), json!([text]), json!({ "a b": text }), json!({ text.clone(): text })] {
            for (path, body) in misplaced(&subscription, &notification, &value) {
                let answer = harness.post(SHOP, &path, body.clone()).await;
                if answer.status.is_client_error() {
                    refused += 1;
                    judge(&body, &answer.body);
                }
            }
        }
        assert!(refused >= 60, "{refused}");
        for parameter in
            ["state", "subscription_id", "created_from", "cursor", "limit", "event_type", "since"]
        {
            let query = format!("/v1/notifications?{parameter}=!{text}");
            let answer = harness.get(SHOP, &query).await;
            judge(&json!(query), &answer.body);
            answer.refused(400, Some(parameter));
        }
    }
}

#[tokio::test]
async fn actions_that_break_a_rule_answer_422_naming_the_field() {
    let (harness, subscription, notification) = world().await;
    let before = harness.everything().await;
    for action in ["resend", "cancel"] {
        let path = format!("{notification}/{action}");
        for reason in [json!(""), json!(long(501)), json!("a\0b"), json!(7)] {
            harness.post(SHOP, &path, json!({ "reason": reason })).await.refused(422, Some("reason"));
        }
    }
    let rotate = format!("{subscription}/rotate-secret");
    for overlap in [json!("169h"), json!("soon"), json!(24), json!("-1h")] {
        harness.post(SHOP, &rotate, json!({ "overlap": overlap })).await.refused(422, Some("overlap"));
    }
    for reason in [json!(""), json!(long(501)), json!(7)] {
        harness.post(SHOP, &rotate, json!({ "reason": reason })).await.refused(422, Some("reason"));
        harness.patch(SHOP, &subscription, json!({ "reason": reason })).await.refused(422, Some("reason"));
    }
    let delete = format!("{subscription}?reason={}", long(501));
    harness.call(SHOP, "DELETE", &delete, None).await.refused(400, Some("reason"));
    harness.call(SHOP, "DELETE", &format!("{subscription}?why=x"), None).await.refused(400, Some("why"));
    for signature in [json!("v2"), json!("V1A"), json!(1), json!("")] {
        harness.post(SHOP, &rotate, json!({ "signature": signature })).await.refused(422, Some("signature"));
        let wish = json!({ "name": "x", "url": "https://shop.example/", "event_types": ["*"], "signature": signature });
        harness.post(SHOP, "/v1/subscriptions", wish).await.refused(422, Some("signature"));
    }
    // A scheme is changed by rotating.
    harness.patch(SHOP, &subscription, json!({ "signature": "v1a" })).await.refused(422, Some("signature"));
    let id = subscription.rsplit('/').next().expect("an id");
    bulks_that_break_a_rule_are_refused(&harness, id).await;
    assert_eq!(harness.everything().await, before);
}

async fn bulks_that_break_a_rule_are_refused(harness: &Harness, id: &str) {
    for (path, wrong_states) in [
        ("/v1/replays", vec![json!("delivering"), json!("lost"), json!([]), json!(""), json!(7)]),
        (
            "/v1/cancellations",
            vec![json!("delivered"), json!(["pending", "exhausted"]), json!("undelivered")],
        ),
    ] {
        let states = wrong_states.into_iter().map(|value| ("state", value));
        let others = [
            ("failure_class", json!("luck")),
            ("failure_class", json!([])),
            ("event_type", json!("recharge*")),
            ("event_type", json!(["a"])),
            ("created_from", json!("yesterday")),
            ("created_to", json!("2000-01-01T00:00:00Z")),
            ("reason", json!(long(501))),
            ("subscription_id", json!("x")),
        ];
        for (name, value) in states.chain(others) {
            let mut body = json!({ "subscription_id": id, "created_from": "2026-01-01T00:00:00Z" });
            body[name] = value;
            harness.post(SHOP, path, body).await.refused(422, Some(name));
        }
        harness.post(SHOP, path, json!({})).await.refused(422, Some("subscription_id"));
        let unknown = json!({ "subscription_id": "019b76da-a800-7000-8000-000000000000" });
        harness.post(SHOP, path, unknown).await.refused(404, None);
        assert_eq!(harness.get(OPERATOR, path).await.answered(200)["items"], json!([]));
    }
}

#[tokio::test]
async fn what_needs_no_key_answers_without_one() {
    let harness = Harness::new().await;
    let get = async |path: &str| {
        harness.send(Request::builder().uri(path).body(Body::empty()).expect("a request")).await
    };
    assert_eq!(get("/healthz").await.status, 200);
    assert_eq!(get("/metrics").await.status, 200);
    get("/readyz").await.refused(503, Some("broker"));
    get("/openapi.json").await.answered(200);
}
