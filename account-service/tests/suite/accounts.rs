//! Accounts over HTTP.

use account_service::domain::{Recharge, Status};
use axum::body::Body;
use axum::http::Method;
use runtime::keys::{KeyHash, Keyring};
use runtime::testing::manual_sources;
use runtime::testing::metrics::assert_documented;
use serde_json::json;

use crate::support::database::Database;
use crate::support::service::{OPERATOR, OWN, SHOP, World, request};
use crate::support::{arrival, as_json, noon, open_account, paid, tx};

pub async fn an_account_is_opened_once_under_one_name(database: Database) {
    let world = World::new(database).await;
    let body = json!({ "account_no": "6222 / 张", "account_name": "张三" });
    let first = world.post("/v1/accounts", &body).await;
    assert_eq!(first.status, 201, "{first:?}");
    let opened = json!({ "account_no": "6222 / 张", "account_name": "张三", "balance": 0, "currency": "CNY",
                         "created_at": "2026-01-01T00:00:00Z" });
    assert_eq!(first.body, opened);
    let again = world.post("/v1/accounts", &body).await;
    assert_eq!((again.status, &again.body), (200, &opened));
    let other = world.post("/v1/accounts", &json!({ "account_no": "6222 / 张", "account_name": "X" })).await;
    assert_eq!((other.status, &*other.content_type), (409, "application/problem+json"));
    let shown = world.get("/v1/accounts/6222%20%2F%20%E5%BC%A0").await;
    assert_eq!((shown.status, shown.body), (200, opened));
    assert_eq!(world.get("/v1/accounts/nobody").await.status, 404);
}

pub async fn credits_are_listed_newest_first_page_by_page(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    open_account(&*world.store, "B").await;
    for number in 0..7 {
        // Two and two at the same instant, to be told apart by their numbers.
        let at = noon() + chrono::TimeDelta::seconds(i64::try_from(number / 2).expect("small"));
        world.store.post(&[arrival(paid(tx(number), "A", 10))], at).await.expect("the store answers");
        world.store.post(&[arrival(paid(tx(100 + number), "B", 1))], at).await.expect("the store answers");
    }
    let mut seen = Vec::new();
    let mut path = "/v1/accounts/A/credits?limit=3".to_owned();
    loop {
        let page = world.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let items = page.body["items"].as_array().expect("a list");
        assert!(items.len() <= 3 && items.iter().all(|item| item["account_no"] == "A"), "{page:?}");
        seen.extend(items.iter().map(|item| item["tx_no"].as_str().expect("text").to_owned()));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("/v1/accounts/A/credits?limit=3&cursor={cursor}");
    }
    let newest_first: Vec<String> = (0..7).rev().map(|number| tx(number).to_string()).collect();
    assert_eq!(seen, newest_first);
    assert_eq!(world.get("/v1/accounts/nobody/credits").await.status, 404);
    let one = world.get("/v1/accounts/A/credits?limit=1").await.body["items"][0].clone();
    assert_eq!(
        one,
        json!({ "tx_no": tx(6), "account_no": "A", "amount": 10, "currency": "CNY", "source": "webhook",
                            "event_id": "event-1", "credited_at": "2026-01-01T12:00:03.123456Z",
                "merchant_order_no": format!("order-{}", tx(6)), "credited_despite": null })
    );
}

pub async fn only_the_operator_and_the_service_s_own_merchant_may_call(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    let paths = [
        "/v1/accounts/A",
        "/v1/accounts/A/credits",
        "/v1/payresult/0190a0b0-0000-7000-8000-000000000000",
        "/v1/audit",
        "/v1/exceptions",
        "/v1/reconciliations",
        "/v1/reconciliations/0190a0b0-0000-7000-8000-000000000000",
        "/v1/reconciliations/0190a0b0-0000-7000-8000-000000000000/differences",
    ];
    for path in paths {
        let as_caller = |key| world.call(request(Method::GET, path, key, Body::empty()));
        assert_eq!(as_caller("").await.status, 401, "{path}");
        assert_eq!(as_caller("wrong").await.status, 401, "{path}");
        assert_eq!(as_caller(SHOP).await.status, 403, "{path}");
        assert!(![401, 403].contains(&as_caller(OWN).await.status), "{path}");
    }
}

pub async fn callers_of_the_keys_file_are_known_and_its_operators_named_in_audits(database: Database) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let holder = |role: &str, name: &str, key: &str| {
        format!("[[{role}]]\nname = \"{name}\"\nkey_sha256 = [\"{}\"]\n", KeyHash::of(key))
    };
    let text = holder("operator", "ann", "ann-key") + &holder("merchant", "kiosk", "kiosk-key");
    std::fs::write(file.path(), text).expect("written");
    let keyring = Keyring::new(None, &"".parse().expect("no merchants"));
    let keyring = keyring.with_file(file.path(), false, manual_sources(1).0.clock).expect("well-formed");
    let world = World::with_keys(database, keyring).await;
    let body = r#"{"from":"2025-12-30T00:00:00Z","to":"2025-12-31T00:00:00Z"}"#;
    let ask =
        |key: &'static str| world.call(request(Method::POST, "/v1/reconciliations", key, Body::from(body)));
    assert_eq!(ask("kiosk-key").await.status, 403);
    assert_eq!(ask(OPERATOR).await.status, 401);
    let asked = ask("ann-key").await;
    assert_eq!((asked.status, &asked.body["asked_by"]), (202, &json!("operator:ann")), "{asked:?}");
}

pub async fn every_endpoint_is_described(database: Database) {
    let world = World::new(database).await;
    let description = world.get("/openapi.json").await.body;
    for (path, method) in [
        ("/v1/accounts", "post"),
        ("/v1/accounts/{account_no}", "get"),
        ("/v1/accounts/{account_no}/credits", "get"),
        ("/v1/accounts/{account_no}/recharges", "post"),
        ("/v1/notifications", "post"),
        ("/v1/payresult/{tx_no}", "get"),
        ("/v1/audit", "get"),
        ("/v1/dead-letters", "get"),
        ("/v1/dead-letters/{id}", "get"),
        ("/v1/dead-letters/{id}/requeue", "post"),
        ("/v1/requeues", "get"),
        ("/v1/exceptions", "get"),
        ("/v1/exceptions/{id}", "get"),
        ("/v1/exceptions/{id}/resolve", "post"),
        ("/v1/reconciliations", "post"),
        ("/v1/reconciliations", "get"),
        ("/v1/reconciliations/{id}", "get"),
        ("/v1/reconciliations/{id}/differences", "get"),
        ("/v1/reconciliations/{id}/cancel", "post"),
    ] {
        let endpoint = &description["paths"][path][method];
        let answers = &endpoint["responses"];
        assert!(endpoint["summary"].is_string(), "{path}: {endpoint}");
        let done = ["200", "201", "202"].iter().any(|status| answers[status].is_object());
        assert!(done, "{path}: {endpoint}");
    }
    let list = &description["paths"]["/v1/accounts/{account_no}/credits"]["get"]["parameters"];
    assert_eq!(list.as_array().map(Vec::len), Some(3), "{list}");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
}

pub async fn the_page_of_metrics_says_what_is_shown(database: Database) {
    let world = World::new(database).await;
    let failed = as_json(&Recharge { status: Status::Failed, ..paid(tx(1), "A", 100) });
    assert_eq!(world.notify("event-1", "recharge.failed", &failed).await.status, 200);
    assert_eq!(world.get(&format!("/v1/payresult/{}", tx(2))).await.status, 503);
    let shown = world.get("/metrics").await.body;
    assert_documented("account-service", shown.as_str().expect("text"));
}
