//! The receivers that the documents show, rung by the real notifier.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Documented, Footing, PATIENCE, SHOP_KEY, Service, Stack, eventually, signature, text};

const ACCOUNT: &str = "62220001";
/// A transaction number that was never given out.
const NEVER_MADE: &str = "0193e6a0-0000-7000-8000-000000000000";

async fn recharge(stack: &Stack, number: i64, account_no: &str, channel: &str) -> Value {
    let recharge = json!({
        "merchant_order_no": format!("order-{number}"), "account_no": account_no,
        "amount": 100 + number, "channel": channel,
    });
    stack.pay.with_key(SHOP_KEY).post("/v1/recharges", &recharge).await.expect(201)
}

/// Makes the recharges `numbers`; returns what each is to credit.
async fn recharges(stack: &Stack, numbers: std::ops::RangeInclusive<i64>) -> Vec<(String, i64)> {
    let mut told = Vec::new();
    for number in numbers {
        told.push((text(&recharge(stack, number, ACCOUNT, "instant").await["tx_no"]), 100 + number));
    }
    told
}

/// Waits until all of it was delivered, and compares the books: each credited once, nothing else.
async fn until_credited(stack: &Stack, receiver: &Documented, told: &[(String, i64)]) {
    for (tx_no, _) in told {
        stack.until_notification(&receiver.subscription, tx_no, "delivered").await;
    }
    assert_credited(receiver, told).await;
}

async fn assert_credited(receiver: &Documented, told: &[(String, i64)]) {
    let mut expected = told.to_vec();
    expected.sort();
    assert_eq!(receiver.credits().await, expected, "{:?}", receiver.language);
    let sum: i64 = told.iter().map(|(_, amount)| amount).sum();
    assert_eq!(receiver.balance(ACCOUNT).await, sum, "{:?}", receiver.language);
}

/// Also what is told twice, and what can be credited only at a later attempt. SIGTERM ends it in order.
pub async fn the_documented_receivers_credit_each_recharge_once(footing: Footing) {
    let stack = Stack::start(footing).await;
    let mut receivers = Documented::in_every_language(&stack, ACCOUNT).await;
    let told = recharges(&stack, 1..=20).await;
    let early = text(&recharge(&stack, 21, "not yet opened", "instant").await["tx_no"]);
    let failed = recharge(&stack, 22, ACCOUNT, "sandbox").await;
    stack.sandbox_calls_back(&failed, "failed").await.expect(200);

    for receiver in &mut receivers {
        until_credited(&stack, receiver, &told).await;
        stack.until_notification(&receiver.subscription, &text(&failed["tx_no"]), "delivered").await;
        is_told_again(&stack, receiver, &told[0].0).await;
        takes_a_test(&stack, receiver).await;
        assert_credited(receiver, &told).await;

        let refused = until_attempted(&stack, receiver, &early).await;
        assert_eq!(refused["attempts"][0]["http_status"], 422, "{:?}", receiver.language);
        receiver.open_account("not yet opened").await;
        stack.until_notification(&receiver.subscription, &early, "delivered").await;
        assert_eq!(receiver.balance("not yet opened").await, 121);
        receiver.end().await;
    }
}

async fn is_told_again(stack: &Stack, receiver: &Documented, tx_no: &str) {
    let first = stack.until_notification(&receiver.subscription, tx_no, "delivered").await;
    let path = format!("/v1/notifications/{}/resend", text(&first["id"]));
    stack.notifier.post(&path, &json!({})).await.expect(200);
    eventually("it is told again", PATIENCE, async || {
        let again = stack.until_notification(&receiver.subscription, tx_no, "delivered").await;
        (again["attempts"].as_array()?.len() == 2).then_some(())
    })
    .await;
}

async fn takes_a_test(stack: &Stack, receiver: &Documented) {
    let path = format!("/v1/subscriptions/{}/test", receiver.subscription);
    let attempt = stack.notifier.post(&path, &json!({})).await.expect(200);
    assert_eq!(attempt["http_status"], 200, "{:?}: {attempt}", receiver.language);
}

/// Waits until an attempt has failed; returns the notification.
async fn until_attempted(stack: &Stack, receiver: &Documented, tx_no: &str) -> Value {
    let found = eventually("an attempt has failed", PATIENCE, async || {
        let all = stack.notifications(&receiver.subscription, tx_no).await;
        all.into_iter().find(|one| one["attempt_count"].as_i64() > Some(0))
    })
    .await;
    stack.notification(&found["id"]).await
}

/// Killed while webhooks are under way to it, it credits them after its next start, and none twice.
pub async fn the_documented_receivers_are_killed_and_credit_the_rest_when_they_are_back(footing: Footing) {
    let stack = Stack::start(footing).await;
    let mut receivers = Documented::in_every_language(&stack, ACCOUNT).await;
    let mut told = recharges(&stack, 1..=30).await;
    for receiver in &mut receivers {
        eventually("some of it is credited", PATIENCE, async || {
            (receiver.credits().await.len() >= 5).then_some(())
        })
        .await;
        receiver.kill();
    }
    told.extend(recharges(&stack, 31..=40).await);
    for receiver in &mut receivers {
        until_missed(&stack, receiver).await;
        receiver.start().await;
    }
    for receiver in &receivers {
        until_credited(&stack, receiver, &told).await;
    }
}

/// Waits until the notifier has found it gone.
async fn until_missed(stack: &Stack, receiver: &Documented) {
    let path = format!("/v1/notifications?subscription_id={}&state=pending", receiver.subscription);
    eventually("an attempt has failed to connect", PATIENCE, async || {
        for one in stack.notifier.list(&path).await {
            if one["attempt_count"].as_i64() > Some(0) {
                let attempted = stack.notification(&one["id"]).await;
                let attempts = attempted["attempts"].as_array()?;
                if attempts.iter().any(|attempt| attempt["failure_class"] == "connect") {
                    return Some(());
                }
            }
        }
        None
    })
    .await;
}

/// What was never told is asked for and credited once, whenever it is told after all. No answer, and
/// no result yet, are no results.
pub async fn the_documented_receivers_ask_for_what_they_were_never_told(footing: Footing) {
    let mut stack = Stack::start(footing).await;
    let receivers = Documented::in_every_language(&stack, ACCOUNT).await;
    for receiver in &receivers {
        stack.set_state(&receiver.subscription, "paused").await;
    }
    let told = recharges(&stack, 1..=2).await;
    let pending = recharge(&stack, 3, ACCOUNT, "sandbox").await;
    let open = text(&pending["tx_no"]);
    for receiver in &receivers {
        for _ in 0..2 {
            assert_reconciled(receiver, &told[0].0, "succeeded").await;
            assert_credited(receiver, &told[..1]).await;
        }
        assert_reconciled(receiver, &open, "pending").await;
        assert_reconciled(receiver, NEVER_MADE, "unknown").await;
    }

    stack.kill(Service::Pay);
    for receiver in &receivers {
        assert_reconciled(receiver, &told[1].0, "unknown").await;
        assert_credited(receiver, &told[..1]).await;
    }
    stack.restart(Service::Pay).await;
    stack.sandbox_calls_back(&pending, "failed").await.expect(200);
    for receiver in &receivers {
        assert_reconciled(receiver, &open, "failed").await;
        stack.set_state(&receiver.subscription, "active").await;
        until_credited(&stack, receiver, &told).await;
    }
}

async fn assert_reconciled(receiver: &Documented, tx_no: &str, expected: &str) {
    let code = if ["pending", "unknown"].contains(&expected) { 75 } else { 0 };
    let answer = (expected.to_owned(), Some(code));
    assert_eq!(receiver.reconcile(tx_no).await, answer, "{:?}", receiver.language);
}

/// Which of several attempts credits is the database's to say, also when none can see the other yet.
pub async fn the_documented_receivers_credit_once_what_is_told_many_times_at_once(footing: Footing) {
    let stack = Stack::start(footing).await;
    let body = event(&json!({}));
    for receiver in &Documented::in_every_language(&stack, ACCOUNT).await {
        let copies = (0..16).map(async |number| {
            let id = format!("event-{number}");
            receiver.answer(&signature::headers(&receiver.secret, &id, &body), &body).await
        });
        assert_eq!(join_all(copies).await, [200; 16], "{:?}", receiver.language);
        assert_credited(receiver, &[("tx-1".to_owned(), 1_000)]).await;
    }
}

/// Forged, stale, too long, or nothing that can be credited: each is refused, and changes nothing.
pub async fn the_documented_receivers_refuse_what_is_forged_or_can_not_be_credited(footing: Footing) {
    let stack = Stack::start(footing).await;
    let receivers = Documented::in_every_language(&stack, ACCOUNT).await;
    let genuine = event(&json!({}));
    for receiver in &receivers {
        let sign = |body: &str| signature::headers(&receiver.secret, "event-1", body).to_vec();
        let (newer, spread) = (event(&json!({ "of_a_later_version": true })), genuine.replace(',', " ,\n"));
        for body in [&genuine, &newer, &spread] {
            assert_eq!(receiver.answer(&sign(body), body).await, 200, "{:?}: {body}", receiver.language);
        }
        for (what, headers) in forgeries(&receiver.secret, &genuine) {
            assert_eq!(receiver.answer(&headers, &genuine).await, 401, "{:?}: {what}", receiver.language);
        }
        for (status, body) in not_for_the_books() {
            let answer = receiver.answer(&sign(&body), &body).await;
            assert_eq!(answer, status, "{:?}: {body:.200}", receiver.language);
        }
        assert_credited(receiver, &[("tx-1".to_owned(), 1_000)]).await;
    }
}

/// A succeeded recharge, with other or further fields.
fn event(fields: &Value) -> String {
    let mut data = json!({
        "tx_no": "tx-1", "account_no": ACCOUNT, "amount": 1_000, "currency": "CNY", "status": "succeeded",
    });
    let members = data.as_object_mut().expect("it is an object");
    members.extend(fields.as_object().cloned().unwrap_or_default());
    json!({ "type": "recharge.succeeded", "timestamp": "2026-01-01T00:00:00Z", "data": data }).to_string()
}

fn forgeries(secret: &str, body: &str) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let stranger = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let signed = || signature::headers(secret, "event-2", body).to_vec();
    let with = |place: usize, value: String| {
        let mut headers = signed();
        headers[place].1 = value;
        headers
    };
    let at = |timestamp| signature::headers_at(secret, "event-2", body, timestamp).to_vec();
    vec![
        ("signed with another secret", signature::headers(stranger, "event-2", body).to_vec()),
        ("another body", signature::headers(secret, "event-2", &event(&json!({ "amount": 1 }))).to_vec()),
        ("another id", with(0, "event-3".to_owned())),
        ("another time", with(1, (signature::now() - 1).to_string())),
        ("no time", with(1, "today".to_owned())),
        ("no signature of any scheme", with(2, "nonsense".to_owned())),
        ("no base64", with(2, "v1,!!".to_owned())),
        ("too old", at(signature::now() - 310)),
        ("too new", at(signature::now() + 310)),
        ("no headers", Vec::new()),
    ]
}

fn not_for_the_books() -> Vec<(u16, String)> {
    let fields = [
        json!({ "amount": 1_001 }),
        json!({ "account_no": "nobody" }),
        json!({ "tx_no": "tx-2", "account_no": "nobody" }),
        json!({ "tx_no": "tx-2", "currency": "USD" }),
        json!({ "tx_no": "tx-2", "amount": 10.5 }),
        json!({ "tx_no": "tx-2", "amount": "1000" }),
        json!({ "tx_no": "tx-2", "amount": true }),
        json!({ "tx_no": "tx-2", "amount": 0 }),
        json!({ "tx_no": "tx-2", "amount": -1_000 }),
        json!({ "tx_no": "tx-2", "amount": 1_000_000_000_001_i64 }),
        json!({ "tx_no": 2 }),
        json!({ "tx_no": "tx-2", "status": "pending" }),
    ];
    let mut cases: Vec<_> = fields.iter().map(|fields| (422, event(fields))).collect();
    cases.extend(["nonsense", "null", "[]", "{}"].map(|body| (422, body.to_owned())));
    cases.push((422, r#"{"type":"recharge.succeeded","data":null}"#.to_owned()));
    cases.push((413, format!(r#"{{"type":"order.paid","data":"{}"}}"#, "x".repeat(64 * 1024))));
    cases
}
