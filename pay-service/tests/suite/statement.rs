//! The statement.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::harness::{Answer, Harness, OPERATOR, OTHER, SHOP, new_order};

fn order_nos(page: &Answer) -> Vec<&str> {
    let items = page.body["items"].as_array().unwrap_or_else(|| panic!("{page:?}"));
    items.iter().map(|item| item["merchant_order_no"].as_str().expect("a number")).collect()
}

async fn create(service: &Harness, order_no: &str, more: Value) {
    assert_eq!(service.create(SHOP, &new_order(order_no, &more)).await.status, 201);
}

#[tokio::test]
async fn a_walk_page_by_page_misses_nothing_and_repeats_nothing_while_recharges_are_added() {
    let service = Harness::start().await;
    for number in 0..5 {
        create(&service, &format!("order-{number}"), json!({})).await;
    }
    let (mut seen, mut cursor, mut added) = (Vec::new(), String::new(), 5);
    loop {
        let page = service.get(SHOP, &format!("/v1/recharges?limit=2{cursor}")).await;
        seen.extend(order_nos(&page).into_iter().map(str::to_owned));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        if added < 9 {
            create(&service, &format!("order-{added}"), json!({})).await;
            service.clock.advance(Duration::from_millis(1));
            added += 1;
        }
    }
    let all: Vec<String> = (0..added).map(|number| format!("order-{number}")).collect();
    assert!(added > 5, "the walk went on while recharges were added");
    assert_eq!(seen, all);
}

#[tokio::test]
async fn it_holds_what_was_asked_for() {
    let service = Harness::start().await;
    create(&service, "a", json!({})).await;
    create(&service, "b", json!({ "channel": "sandbox" })).await;
    create(&service, "c", json!({ "account_no": "6223 x" })).await;
    service.create(OTHER, &new_order("d", &json!({}))).await;
    for (key, query, expected) in [
        (SHOP, "", vec!["a", "b", "c"]),
        (OTHER, "", vec!["d"]),
        (OPERATOR, "", vec!["a", "b", "c", "d"]),
        (OPERATOR, "?merchant=shop", vec!["a", "b", "c"]),
        (OPERATOR, "?merchant=nobody", vec![]),
        (SHOP, "?merchant=shop&status=pending", vec!["b"]),
        (SHOP, "?status=succeeded&account_no=6222", vec!["a"]),
        (SHOP, "?account_no=6223%20x", vec!["c"]),
        (SHOP, "?status=closed", vec![]),
        (OPERATOR, "?limit=1&status=succeeded&account_no=6222&merchant=other", vec!["d"]),
    ] {
        let page = service.get(key, &format!("/v1/recharges{query}")).await;
        assert_eq!(order_nos(&page), expected, "{key} {query}");
        assert_eq!(page.body["next_cursor"], Value::Null);
    }
    assert_eq!(service.get(SHOP, "/v1/recharges?merchant=other").await.status, 404);
}

#[tokio::test]
async fn a_period_includes_its_start_and_excludes_its_end_to_the_microsecond() {
    let service = Harness::start().await;
    for (order_no, micros) in [("a", 0), ("b", 1), ("c", 998), ("d", 1)] {
        service.clock.advance(Duration::from_micros(micros));
        create(&service, order_no, json!({})).await;
    }
    for (from, to, expected) in [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.001Z", vec!["a", "b", "c"]),
        ("2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000999Z", vec!["b"]),
        ("2026-01-01T00:00:00.000999Z", "2026-01-02T08:00:00%2B08:00", vec!["c", "d"]),
        ("0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", vec!["a", "b", "c", "d"]),
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", vec![]),
    ] {
        let page = service.get(SHOP, &format!("/v1/recharges?created_from={from}&created_to={to}")).await;
        assert_eq!(order_nos(&page), expected, "{from} {to}");
    }
}

#[tokio::test]
async fn a_walk_goes_on_after_any_recharge_even_one_that_is_not_in_it() {
    let service = Harness::start().await;
    for order_no in ["a", "b", "c"] {
        create(&service, order_no, json!({})).await;
    }
    let all = service.get(SHOP, "/v1/recharges").await;
    let tx_no = |place: usize| all.body["items"][place]["tx_no"].as_str().expect("a number").to_owned();
    service.create(OTHER, &new_order("d", &json!({}))).await;
    let theirs = service.get(OTHER, "/v1/recharges").await.body["items"][0]["tx_no"].clone();
    create(&service, "e", json!({})).await;
    let nil = "00000000-0000-0000-0000-000000000000";
    for (after, expected) in [
        (nil, vec!["a", "b", "c", "e"]),
        (tx_no(0).as_str(), vec!["b", "c", "e"]),
        (tx_no(2).as_str(), vec!["e"]),
        (theirs.as_str().expect("a number"), vec!["e"]),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", vec![]),
    ] {
        let page = service.get(SHOP, &format!("/v1/recharges?after={after}")).await;
        assert_eq!(order_nos(&page), expected, "{after}");
    }
    let first = service.get(SHOP, &format!("/v1/recharges?limit=1&after={}", tx_no(0))).await;
    let cursor = first.body["next_cursor"].as_str().expect("there is more").to_owned();
    assert_eq!(order_nos(&service.get(SHOP, &format!("/v1/recharges?cursor={cursor}")).await), ["c", "e"]);
}
