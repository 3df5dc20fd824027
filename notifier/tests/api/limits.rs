//! What one merchant may have or run at once.

use std::sync::Arc;

use futures_util::future::join_all;
use notifier::domain::MerchantLimits;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::harness::{Answer, BANK, Harness, OPERATOR, SHOP, path_of};
use crate::receiver::{Act, Receiver, answer};

const LIMITS: MerchantLimits = MerchantLimits { subscriptions: 2, bulk_actions: 2, tests: 2 };

/// The answer refuses for `limit`, which it names with its setting.
fn refused(answer: Answer, status: u16, setting: &str) {
    let detail = answer.body["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains(setting) && detail.contains('2'), "{detail}");
    if status == 429 {
        let after: u64 = answer.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
        assert!((1..=60).contains(&after));
    }
    answer.refused(status, (status == 422).then_some("merchant"));
}

#[tokio::test]
async fn a_merchant_with_as_many_subscriptions_as_it_may_have_is_refused_by_422() {
    let harness = Harness::with_limits(LIMITS).await;
    for (key, merchant) in [(SHOP, None), (OPERATOR, None), (OPERATOR, Some("bank"))] {
        let create = async |name: &str| {
            let mut body = json!({ "name": name, "url": "https://a.example/", "event_types": ["*"] });
            if let Some(merchant) = merchant {
                body["merchant"] = merchant.into();
            }
            harness.post(key, "/v1/subscriptions", body).await
        };
        let first = create("one").await.answered(201);
        create("two").await.answered(201);
        refused(create("three").await, 422, "MAX_SUBSCRIPTIONS_PER_MERCHANT");
        harness.call(key, "DELETE", &path_of(&first), None).await.answered(204);
        create("three").await.answered(201);
    }
    let body = json!({ "name": "mine", "url": "https://a.example/", "event_types": ["*"] });
    refused(harness.post(BANK, "/v1/subscriptions", body).await, 422, "MAX_SUBSCRIPTIONS_PER_MERCHANT");
}

#[tokio::test]
async fn a_merchant_with_as_many_replays_and_cancellations_running_as_may_be_is_refused_by_429() {
    let mut harness = Harness::with_limits(LIMITS).await;
    let (of_shop, of_bank) = (harness.subscribe(SHOP, "a").await, harness.subscribe(BANK, "a").await);
    let start = async |harness: &Harness, key: &str, path: &str, subscription: &Value| {
        harness.post(key, path, json!({ "subscription_id": subscription["id"] })).await
    };
    start(&harness, SHOP, "/v1/replays", &of_shop).await.answered(202);
    start(&harness, OPERATOR, "/v1/cancellations", &of_shop).await.answered(202);
    for (key, path) in [(SHOP, "/v1/replays"), (SHOP, "/v1/cancellations"), (OPERATOR, "/v1/replays")] {
        refused(start(&harness, key, path, &of_shop).await, 429, "MAX_BULK_ACTIONS_PER_MERCHANT");
    }
    start(&harness, BANK, "/v1/replays", &of_bank).await.answered(202);
    harness.run_bulks().await;
    start(&harness, SHOP, "/v1/replays", &of_shop).await.answered(202);
}

#[tokio::test]
async fn a_merchant_whose_receivers_hang_keeps_no_other_one_from_testing() {
    let harness = Harness::with_limits(LIMITS).await;
    let hold = Arc::new(Semaphore::new(0));
    let hanging = Receiver::start(vec![Act::Hold(hold.clone())]).await;
    let prompt = Receiver::start(vec![answer(200, "", "")]).await;
    let subscribe = async |key, url: String| {
        let body = json!({ "name": "t", "url": url, "event_types": ["*"], "timeout": "30s" });
        format!("{}/test", path_of(&harness.post(key, "/v1/subscriptions", body).await.answered(201)))
    };
    let of_shop = subscribe(SHOP, hanging.url()).await;
    let of_bank = subscribe(BANK, prompt.url()).await;
    let test = async |key: &'static str, path: &str| harness.call(key, "POST", path, None).await;
    let under_way = join_all([test(SHOP, &of_shop), test(SHOP, &of_shop)]);
    let meanwhile = async {
        hanging.wait_for(2).await;
        refused(test(SHOP, &of_shop).await, 429, "MAX_TESTS_PER_MERCHANT");
        refused(test(OPERATOR, &of_shop).await, 429, "MAX_TESTS_PER_MERCHANT");
        for _ in 0..5 {
            assert_eq!(test(BANK, &of_bank).await.answered(200)["outcome"], "delivered");
        }
        // No connection is held while the receiver is waited for.
        harness.get(SHOP, "/v1/subscriptions").await.answered(200);
        hold.add_permits(Semaphore::MAX_PERMITS);
    };
    let (ended, ()) = tokio::join!(under_way, meanwhile);
    for answer in ended {
        assert_eq!(answer.answered(200)["outcome"], "delivered");
    }
    test(SHOP, &of_shop).await.answered(200);
}
