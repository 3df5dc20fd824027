//! The query for a result that was not heard of, in each of its answers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Footing, Service, Stack, eventually, text};

const ACCOUNT: &str = "62220001";
/// A transaction number that was never given out.
const NEVER_MADE: &str = "0193e6a0-0000-7000-8000-000000000000";

/// Longer than a period must have been over.
const OVER: Duration = Duration::from_secs(150);

async fn with_account(footing: Footing) -> Stack {
    let stack = Stack::start(footing).await;
    stack.open_account(ACCOUNT).await;
    stack
}

fn assert_answer(answer: &Value, expected: &Value) {
    for (field, value) in expected.as_object().expect("an object of expected fields") {
        assert_eq!(&answer[field], value, "{field} in {answer}");
    }
}

/// Answered without asking pay-service.
pub async fn what_is_credited_here_is_answered_from_the_ledger(footing: Footing) {
    let stack = with_account(footing).await;
    let tx_no = text(&stack.recharge(ACCOUNT, 1_000).await["tx_no"]);
    stack.until_balance(ACCOUNT, 1_000).await;

    let answer = stack.ask(&tx_no).await.expect(200);
    let expected = json!({
        "tx_no": tx_no, "status": "succeeded", "account_no": ACCOUNT, "amount": 1_000,
        "currency": "CNY", "credited": true, "source": "ledger",
    });
    assert_answer(&answer, &expected);
    assert!(answer["credited_at"].is_string());
}

/// The notification is held back; asking heals it, and when it comes after all it credits nothing.
pub async fn a_result_that_never_arrived_is_asked_for_and_credited_once(footing: Footing) {
    let stack = with_account(footing).await;
    stack.set_state(&stack.account_subscription, "paused").await;
    let recharge = stack.recharge_directly("lost-1", ACCOUNT, 450, "instant").await;
    let tx_no = text(&recharge["tx_no"]);
    stack.until_notification(&stack.account_subscription, &tx_no, "held").await;
    assert_eq!(stack.balance(ACCOUNT).await, 0);

    let first = stack.ask(&tx_no).await.expect(200);
    assert_answer(
        &first,
        &json!({ "tx_no": tx_no, "status": "succeeded", "credited": true, "source": "pay-service" }),
    );
    assert_eq!(stack.balance(ACCOUNT).await, 450);
    let second = stack.ask(&tx_no).await.expect(200);
    assert_answer(&second, &json!({ "status": "succeeded", "credited": true, "source": "ledger" }));

    stack.set_state(&stack.account_subscription, "active").await;
    stack.until_notification(&stack.account_subscription, &tx_no, "delivered").await;
    assert_eq!(stack.credits(ACCOUNT).await.len(), 1);
    assert_eq!(stack.balance(ACCOUNT).await, 450);
}

/// Unknown so far is said as `pending`; the platform's word settles it, and its repetition nothing.
pub async fn a_pending_recharge_is_answered_as_pending_until_the_platform_calls_back(footing: Footing) {
    let stack = with_account(footing).await;
    let recharge = stack.recharge_directly("slow-1", ACCOUNT, 800, "sandbox").await;
    let tx_no = text(&recharge["tx_no"]);
    let pending = stack.ask(&tx_no).await.expect(200);
    assert_answer(&pending, &json!({ "status": "pending", "credited": false, "source": "pay-service" }));
    assert_eq!(stack.balance(ACCOUNT).await, 0);

    stack.sandbox_calls_back(&recharge, "succeeded").await.expect(200);
    stack.sandbox_calls_back(&recharge, "succeeded").await.expect(200);
    stack.until_balance(ACCOUNT, 800).await;
    stack.sandbox_calls_back(&recharge, "failed").await.expect(409);
    let settled = stack.ask(&tx_no).await.expect(200);
    assert_answer(&settled, &json!({ "status": "succeeded", "credited": true, "source": "ledger" }));
    assert_eq!(stack.credits(ACCOUNT).await.len(), 1);
}

/// Also after the notification of the failure has arrived.
pub async fn a_failed_recharge_is_answered_as_failed_and_credits_nothing(footing: Footing) {
    let stack = with_account(footing).await;
    let recharge = stack.recharge_directly("declined-1", ACCOUNT, 800, "sandbox").await;
    let tx_no = text(&recharge["tx_no"]);
    stack.sandbox_calls_back(&recharge, "failed").await.expect(200);
    stack.until_notification(&stack.account_subscription, &tx_no, "delivered").await;

    let answer = stack.ask(&tx_no).await.expect(200);
    assert_answer(&answer, &json!({ "status": "failed", "credited": false, "source": "pay-service" }));
    assert_eq!(stack.balance(ACCOUNT).await, 0);
    assert!(stack.credits(ACCOUNT).await.is_empty());
}

/// Neither here nor at pay-service; another merchant's recharge is as unknown.
pub async fn a_transaction_that_nobody_knows_is_answered_404(footing: Footing) {
    let stack = with_account(footing).await;
    let problem = stack.ask(NEVER_MADE).await;
    assert_eq!(problem.header("content-type"), "application/problem+json");
    assert_eq!(problem.expect(404)["type"], "urn:ringback:problem:not-found");

    let order = json!({
        "merchant": "shop", "merchant_order_no": "order-1", "account_no": ACCOUNT, "amount": 5,
    });
    let foreign = stack.pay.post("/v1/recharges", &order).await.expect(201);
    stack.ask(&text(&foreign["tx_no"])).await.expect(404);
    assert_eq!(stack.balance(ACCOUNT).await, 0);
}

/// What is known here is still answered; for the rest the caller is told when to ask again.
pub async fn while_pay_service_is_down_nothing_is_made_up(footing: Footing) {
    let mut stack = with_account(footing).await;
    let known = text(&stack.recharge(ACCOUNT, 10).await["tx_no"]);
    stack.until_balance(ACCOUNT, 10).await;
    let recharge = stack.recharge_directly("slow-1", ACCOUNT, 20, "sandbox").await;
    let unheard = text(&recharge["tx_no"]);
    stack.kill(Service::Pay);

    for tx_no in [unheard.as_str(), NEVER_MADE] {
        let answer = stack.ask(tx_no).await;
        assert_eq!(answer.expect(503)["type"], "urn:ringback:problem:unavailable");
        let seconds: u32 = answer.header("retry-after").parse().expect("Retry-After in seconds");
        assert!(seconds >= 1);
    }
    assert_answer(&stack.ask(&known).await.expect(200), &json!({ "credited": true, "source": "ledger" }));
    let refused =
        stack.account.post(&format!("/v1/accounts/{ACCOUNT}/recharges"), &json!({ "amount": 5 })).await;
    refused.expect(503);
    assert!(!refused.header("retry-after").is_empty());

    stack.restart(Service::Pay).await;
    assert_answer(&stack.ask(&unheard).await.expect(200), &json!({ "status": "pending", "credited": false }));
    assert_eq!(stack.balance(ACCOUNT).await, 10);
}

/// Its notification is held back and nobody asks for it: the comparison of the period finds it, across a
/// kill of account-service, and one more comparison finds that all is well.
pub async fn a_credit_that_got_lost_is_found_in_the_statement(footing: Footing) {
    let mut stack = with_account(footing).await;
    let heard = stack.recharge_directly("heard-1", ACCOUNT, 50, "instant").await;
    stack.until_balance(ACCOUNT, 50).await;
    stack.set_state(&stack.account_subscription, "paused").await;
    let lost = stack.recharge_directly("lost-1", ACCOUNT, 450, "instant").await;
    stack.until_notification(&stack.account_subscription, &text(&lost["tx_no"]), "held").await;
    stack.recharge_directly("slow-1", ACCOUNT, 7, "sandbox").await;

    let second = |recharge: &Value, later: i64| {
        let created: chrono::DateTime<chrono::Utc> = text(&recharge["created_at"]).parse().expect("a time");
        json!((created + chrono::TimeDelta::seconds(later)).format("%Y-%m-%dT%H:%M:%SZ").to_string())
    };
    let period = json!({ "from": second(&heard, 0), "to": second(&lost, 1) });
    let begun = eventually("the period is over for a minute", OVER, async || {
        let begun = stack.account.post("/v1/reconciliations", &period).await;
        (begun.status == 202).then_some(begun)
    });
    let path = format!("/v1/reconciliations/{}", text(&begun.await.json()["id"]));
    stack.kill(Service::Account);
    stack.restart(Service::Account).await;
    let run = until_finished(&stack, &path).await;
    let differences = stack.account.list(&format!("{path}/differences")).await;
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert_answer(&differences[0], &json!({ "tx_no": lost["tx_no"], "kind": "missing_here" }));
    let sum = |count: u64, amount: u64| json!({ "count": count, "amount": amount });
    let total =
        json!({ "currency": "CNY", "there": sum(2, 500), "here": sum(1, 50), "credited": sum(1, 450) });
    assert_eq!(run["totals"], json!([total]));
    assert_eq!(stack.balance(ACCOUNT).await, 500);

    stack.set_state(&stack.account_subscription, "active").await;
    stack.until_notification(&stack.account_subscription, &text(&lost["tx_no"]), "delivered").await;
    assert_eq!(stack.credits(ACCOUNT).await.len(), 2);
    let again = stack.account.post("/v1/reconciliations", &period).await.expect(202);
    let again = format!("/v1/reconciliations/{}", text(&again["id"]));
    until_finished(&stack, &again).await;
    assert!(stack.account.list(&format!("{again}/differences")).await.is_empty());
    assert_eq!(stack.balance(ACCOUNT).await, 500);
}

/// The lease of the killed process included.
async fn until_finished(stack: &Stack, path: &str) -> Value {
    eventually("the reconciliation is finished", OVER, async || {
        let run = stack.account.get(path).await.expect(200);
        (run["state"] == "finished").then_some(run)
    })
    .await
}
