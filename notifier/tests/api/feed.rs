//! A subscriber's own events through the API.

use std::time::Duration;

use messaging::Event;
use runtime::Clock;
use serde_json::{Value, json};

use super::harness::{BANK, Harness, OPERATOR, SHOP};

async fn keep(harness: &mut Harness, id: &str, merchant: &str, kind: &str) {
    let event = json!({ "specversion": "1.0", "id": id, "source": "/test", "type": kind, "merchant": merchant,
        "subject": "order-7", "time": harness.clock.now(), "data": { "n": 1.50 } });
    let event = Event::parse(event.to_string().as_bytes()).expect("an event");
    let now = harness.clock.now();
    harness.take_in_at(event, now).await;
}

async fn read(harness: &Harness, key: &str, query: &str) -> (Vec<String>, String) {
    let page = harness.get(key, &format!("/v1/feed{query}")).await.answered(200);
    let ids = page["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["id"].as_str().expect("an id").to_owned());
    (ids.collect(), page["next_cursor"].as_str().expect("never null").to_owned())
}

#[tokio::test]
async fn a_subscriber_reads_its_own_events_oldest_first_and_goes_on_where_it_was() {
    let mut harness = Harness::new().await;
    let (none, cursor) = read(&harness, SHOP, "").await;
    assert!(none.is_empty());
    for (id, merchant) in [("a", "shop"), ("b", "bank"), ("c", "shop"), ("d", "shop")] {
        keep(&mut harness, id, merchant, "order.paid").await;
    }
    assert_eq!(read(&harness, SHOP, &format!("?after={cursor}")).await.0, ["a", "c", "d"]);
    let (first, cursor) = read(&harness, SHOP, "?limit=2").await;
    assert_eq!(first, ["a", "c"]);
    let (rest, cursor) = read(&harness, SHOP, &format!("?limit=2&after={cursor}")).await;
    assert_eq!(rest, ["d"]);
    assert!(read(&harness, SHOP, &format!("?after={cursor}")).await.0.is_empty());
    keep(&mut harness, "e", "shop", "order.lost").await;
    assert_eq!(read(&harness, SHOP, &format!("?after={cursor}")).await.0, ["e"]);
    assert_eq!(read(&harness, SHOP, "?merchant=shop&event_types=order.lost,recharge.*").await.0, ["e"]);
    assert_eq!(read(&harness, OPERATOR, "?merchant=bank").await.0, ["b"]);
    assert_eq!(read(&harness, BANK, &format!("?after={cursor}")).await.0, Vec::<String>::new());
}

#[tokio::test]
async fn each_event_says_what_it_is_and_whether_it_was_delivered() {
    let mut harness = Harness::new().await;
    keep(&mut harness, "before", "shop", "recharge.succeeded").await;
    let orders = harness.subscribe(SHOP, "orders").await;
    harness.clock.advance(Duration::from_secs(1));
    keep(&mut harness, "after", "shop", "recharge.succeeded").await;
    let items = async || harness.get(SHOP, "/v1/feed").await.answered(200)["items"].clone();
    let of = |id: &str, time: &str, subscriptions: u32| {
        json!({ "id": id, "source": "/test", "type": "recharge.succeeded", "time": time, "subject": "order-7",
            "received_at": time, "data": { "n": 1.50 }, "delivered": false, "subscriptions": subscriptions })
    };
    let missed = of("before", "2026-01-01T00:00:00Z", 0);
    let waiting = of("after", "2026-01-01T00:00:01Z", 1);
    assert_eq!(items().await, json!([missed, waiting]));
    harness.succeed_next(&orders).await;
    let delivered = json!({ "id": "after", "delivered": true });
    let shown = items().await;
    assert_eq!((&shown[0], &shown[1]["delivered"]), (&missed, &delivered["delivered"]));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_for_the_feed_is_named() {
    let harness = Harness::new().await;
    for (key, query, status, field) in [
        (SHOP, "?after=x", 400, Some("after")),
        (SHOP, "?after=", 400, Some("after")),
        (SHOP, "?cursor=x", 400, Some("cursor")),
        (SHOP, "?event_types=", 400, Some("event_types")),
        (SHOP, "?event_types=order.*,a%20b", 400, Some("event_types")),
        (SHOP, "?limit=0", 400, Some("limit")),
        (SHOP, "?limit=201", 400, Some("limit")),
        (SHOP, "?merchant=bank", 404, None),
        (OPERATOR, "", 400, Some("merchant")),
        (OPERATOR, "?merchant=a%20b", 400, Some("merchant")),
        ("unknown", "", 401, None),
    ] {
        harness.get(key, &format!("/v1/feed{query}")).await.refused(status, field);
    }
    let many = vec!["a"; 51].join(",");
    harness.get(SHOP, &format!("/v1/feed?event_types={many}")).await.refused(400, Some("event_types"));
    let other: Value = harness.get(OPERATOR, "/v1/feed?merchant=nobody").await.answered(200);
    assert_eq!((&other["items"], &other["has_more"]), (&json!([]), &json!(false)));
}
