//! What a statement comes to.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::harness::{Harness, OPERATOR, OTHER, SHOP, new_order};

const LARGEST: i64 = 1_000_000_000_000;

async fn totals(service: &Harness, key: &str, query: &str) -> Vec<Value> {
    let answer = service.get(key, &format!("/v1/recharges/totals{query}")).await;
    assert_eq!((answer.status, &answer.body["next_cursor"]), (200, &Value::Null), "{answer:?}");
    answer.body["items"].as_array().expect("a list").clone()
}

fn total(merchant: &str, currency: &str, status: &str, count: u64, sum: i64) -> Value {
    json!({ "merchant": merchant, "currency": currency, "status": status, "count": count, "sum": sum })
}

async fn taken() -> Harness {
    let service = Harness::start().await;
    for (key, order_no, more) in [
        (SHOP, "a", json!({ "amount": LARGEST })),
        (SHOP, "b", json!({ "amount": LARGEST })),
        (SHOP, "c", json!({ "amount": 7, "currency": "USD", "account_no": "6223" })),
        (SHOP, "d", json!({ "amount": 5, "channel": "sandbox" })),
        (OTHER, "e", json!({ "amount": 3 })),
    ] {
        assert_eq!(service.create(key, &new_order(order_no, &more)).await.status, 201);
        service.clock.advance(Duration::from_secs(1));
    }
    service
}

#[tokio::test]
async fn they_are_by_merchant_currency_and_status_and_exact() {
    let service = taken().await;
    let paid = total("shop", "CNY", "succeeded", 2, 2 * LARGEST);
    let open = total("shop", "CNY", "pending", 1, 5);
    let dollars = total("shop", "USD", "succeeded", 1, 7);
    let others = total("other", "CNY", "succeeded", 1, 3);
    for (key, query, expected) in [
        (OPERATOR, "", vec![&others, &open, &paid, &dollars]),
        (OPERATOR, "?merchant=other", vec![&others]),
        (OPERATOR, "?merchant=nobody", vec![]),
        (OPERATOR, "?status=pending", vec![&open]),
        (SHOP, "", vec![&open, &paid, &dollars]),
        (SHOP, "?merchant=shop&account_no=6223", vec![&dollars]),
        (OTHER, "", vec![&others]),
        (SHOP, "?created_from=2026-01-01T00:00:02Z&created_to=2026-01-01T00:00:04Z", vec![&open, &dollars]),
        (SHOP, "?created_from=2027-01-01T00:00:00Z", vec![]),
    ] {
        let found = totals(&service, key, query).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{key} {query}");
    }
}

#[tokio::test]
async fn a_merchant_never_learns_what_another_ones_come_to() {
    let service = taken().await;
    assert_eq!(service.get(SHOP, "/v1/recharges/totals?merchant=other").await.status, 404);
    for query in
        ["?status=paid", "?account_no=", "?created_from=today", "?merchant=a%20b", "?limit=1", "?x=1"]
    {
        let answer = service.get(OPERATOR, &format!("/v1/recharges/totals{query}")).await;
        let field = query[1..].split('=').next().expect("a name");
        assert_eq!((answer.status, &answer.body["errors"][0]["field"]), (400, &json!(field)), "{query}");
    }
    assert_eq!(service.get("unknown", "/v1/recharges/totals").await.status, 401);
}
