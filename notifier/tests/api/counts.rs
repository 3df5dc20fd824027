//! Counts by subscription and state through the API.

use messaging::Event;
use runtime::Clock;
use serde_json::{Value, json};

use super::harness::{BANK, Harness, OPERATOR, SHOP, path_of};

const COUNTS: &str = "/v1/notifications/counts";

async fn items(harness: &Harness, key: &str, query: &str) -> Vec<Value> {
    let list = harness.get(key, &format!("{COUNTS}{query}")).await.answered(200);
    list["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn what_each_subscription_has_is_counted_by_state() {
    let harness = Harness::new().await;
    let orders = harness.subscribe(SHOP, "orders").await;
    for subject in ["tx-1", "tx-2", "tx-3"] {
        harness.notify(&orders, subject).await;
    }
    harness.claim(&orders).await;
    let cancelled = harness.notify(&orders, "tx-4").await;
    let cancel = format!("/v1/notifications/{cancelled}/cancel");
    harness.call(SHOP, "POST", &cancel, None).await.answered(200);
    let expected = |state: &str, pending, held| {
        json!([{
            "subscription_id": orders["id"], "name": "orders", "merchant": "shop", "state": state,
            "counts": { "pending": pending, "delivering": 1, "held": held, "exhausted": 0, "cancelled": 1,
                "delivered": 0 },
            "capped": [], "disabled_reason": null, "oldest_at": "2026-01-01T00:00:00Z", "amounts": {},
            "amounts_capped": false, "health": { "state": "healthy", "failing_since": null, "failure_class": null,
                "unreached_attempts": 0, "next_probe_at": null, "paused_until": null },
        }])
    };
    assert_eq!(json!(items(&harness, SHOP, "").await), expected("active", 2, 0));
    harness.patch(SHOP, &path_of(&orders), json!({ "state": "paused" })).await.answered(200);
    assert_eq!(json!(items(&harness, OPERATOR, "").await), expected("paused", 0, 2));
    harness.call(SHOP, "DELETE", &path_of(&orders), None).await.answered(204);
    assert!(items(&harness, OPERATOR, "").await.is_empty());
}

#[tokio::test]
async fn a_merchant_sees_its_own_counts_and_the_operator_those_of_whom_it_names() {
    let harness = Harness::new().await;
    let of_shop = harness.subscribe(SHOP, "orders").await;
    let of_bank = harness.subscribe(BANK, "orders").await;
    let of_operator = harness.subscribe(OPERATOR, "all").await;
    let ids = async |key: &str, query: &str| {
        let items = items(&harness, key, query).await;
        items.iter().map(|item| item["subscription_id"].clone()).collect::<Vec<_>>()
    };
    let [shop, bank, operator] = [&of_shop, &of_bank, &of_operator].map(|one| &one["id"]);
    assert_eq!(ids(OPERATOR, "").await.iter().collect::<Vec<_>>(), [operator, bank, shop]);
    let own = format!("?subscription_id={}", shop.as_str().expect("an id"));
    for (key, query, one) in [
        (OPERATOR, "?merchant=bank", bank),
        (OPERATOR, own.as_str(), shop),
        (SHOP, "", shop),
        (SHOP, "?merchant=shop", shop),
    ] {
        assert_eq!(ids(key, query).await.iter().collect::<Vec<_>>(), [one], "{query}");
    }
    // Not theirs is not there, as in the list.
    assert!(ids(BANK, &own).await.is_empty());
    harness.get(BANK, &format!("{COUNTS}?merchant=shop")).await.refused(404, None);
}

#[tokio::test]
async fn counts_come_in_pages() {
    let harness = Harness::new().await;
    for name in ["a", "b", "c"] {
        harness.subscribe(SHOP, name).await;
    }
    let mut names = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let list = harness.get(SHOP, &format!("{COUNTS}{query}")).await.answered(200);
        names.extend(list["items"].as_array().expect("a list").iter().map(|item| item["name"].clone()));
        let Some(cursor) = list["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(names, ["c", "b", "a"]);
}

#[tokio::test]
async fn a_subscription_says_how_it_does_and_what_money_waits_for_it() {
    let mut harness = Harness::new().await;
    let orders = harness.subscribe(SHOP, "orders").await;
    let since = harness.clock.now();
    for (amount, currency) in [(1_000, "CNY"), (1_000_000_000_000_i64, "CNY"), (5, "USD")] {
        let data = json!({ "amount": amount, "currency": currency });
        let event = Event::new(harness.id(), "/pay-service", "recharge.succeeded", since, &data);
        let event = event.expect("an event").about("tx", "shop");
        harness.take_in_at(event, since).await;
        harness.clock.advance(std::time::Duration::from_secs(1));
    }
    harness.fail_next(&orders).await;
    harness.patch(SHOP, &path_of(&orders), json!({ "state": "disabled" })).await.answered(200);
    let [counts] = &items(&harness, SHOP, "?subscription_id=name:orders").await[..] else { panic!("one") };
    assert_eq!(counts["amounts"], json!({ "CNY": 1_000_000_001_000_i64, "USD": 5 }));
    assert_eq!(
        (&counts["oldest_at"], &counts["amounts_capped"]),
        (&json!("2026-01-01T00:00:00Z"), &json!(false))
    );
    assert_eq!(
        (&counts["state"], &counts["disabled_reason"]),
        (&json!("disabled"), &json!("disabled by merchant:shop"))
    );
    assert_eq!(
        (&counts["health"]["state"], &counts["health"]["failure_class"]),
        (&json!("failing"), &json!("status"))
    );
}
