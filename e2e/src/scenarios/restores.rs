//! Databases restored from backups that are older than the others.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{ACCOUNT_KEY, Answer, Backup, Footing, PATIENCE, Service, Stack, eventually, text};

const ACCOUNT: &str = "62220001";
/// Longer than a period must have been over.
const OVER: Duration = Duration::from_secs(150);

/// Repeats an order at pay-service, as its merchant does that got no answer.
async fn repeat(stack: &Stack, order: &str, amount: i64) -> Answer {
    let recharge = json!({ "merchant_order_no": order, "account_no": ACCOUNT, "amount": amount });
    stack.pay.with_key(ACCOUNT_KEY).post("/v1/recharges", &recharge).await
}

async fn exceptions(stack: &Stack, kind: &str) -> Vec<Value> {
    stack.account.list(&format!("/v1/exceptions?state=open&kind={kind}")).await
}

/// pay-service has lost two orders that are credited: one that was made there and one that account-service
/// asked for. Repeated, they get new numbers, and are not credited again.
pub async fn an_older_pay_service_gets_no_order_credited_twice(footing: Footing) {
    let mut stack = Stack::start(footing).await;
    stack.open_account(ACCOUNT).await;
    stack.recharge_directly("kept-1", ACCOUNT, 100, "instant").await;
    stack.until_balance(ACCOUNT, 100).await;
    let backup =
        Backup::take(&stack.footing.pay_database, stack.footing.folder.path().join("pay.backup")).await;
    let direct = stack.recharge_directly("lost-1", ACCOUNT, 250, "instant").await;
    let asked = stack.recharge(ACCOUNT, 40).await;
    stack.until_balance(ACCOUNT, 390).await;

    stack.kill(Service::Pay);
    backup.restore().await;
    stack.restart(Service::Pay).await;
    repeat(&stack, "kept-1", 100).await.expect(200);
    let lost = [(text(&direct["merchant_order_no"]), 250), (text(&asked["merchant_order_no"]), 40)];
    let firsts = [&direct, &asked].map(|recharge| text(&recharge["tx_no"]));
    for ((order, amount), first) in lost.into_iter().zip(&firsts) {
        let second = text(&repeat(&stack, &order, amount).await.expect(201)["tx_no"]);
        assert_ne!(*first, second, "pay-service does not know the first any more");
        let kept = eventually("the second number is an exception", PATIENCE, async || {
            let kept = exceptions(&stack, "order_credited_already").await;
            kept.into_iter().find(|kept| kept["tx_no"] == json!(second))
        })
        .await;
        assert_eq!(kept["recorded"]["credit"]["tx_no"], json!(first), "{kept}");
        let answer = stack.ask(&second).await.expect(200);
        assert_eq!(
            (&answer["status"], &answer["credited"]),
            (&json!("succeeded"), &json!(false)),
            "{answer}"
        );
        assert!(answer["refusal"].as_str().is_some_and(|why| why.contains(first)), "{answer}");
    }
    stack.recharge_directly("new-1", ACCOUNT, 1, "instant").await;
    stack.until_balance(ACCOUNT, 391).await;
    assert_eq!(stack.credits(ACCOUNT).await.len(), 4);
    let audit = stack.account.get("/v1/audit").await.expect(200);
    assert_eq!((&audit["balanced"], &audit["open_exceptions"]), (&json!(true), &json!(2)), "{audit}");
}

/// account-service has lost two credits; the comparison with pay-service's statement makes them again, once,
/// and what is delivered again afterwards credits nothing.
pub async fn an_older_account_service_gets_its_credits_back_from_the_statement(footing: Footing) {
    let mut stack = Stack::start(footing).await;
    stack.open_account(ACCOUNT).await;
    let kept = stack.recharge_directly("kept-1", ACCOUNT, 100, "instant").await;
    stack.until_balance(ACCOUNT, 100).await;
    let copy = stack.footing.folder.path().join("account.backup");
    let backup = Backup::take(&stack.footing.account_database, copy).await;
    let direct = stack.recharge_directly("lost-1", ACCOUNT, 250, "instant").await;
    let asked = stack.recharge(ACCOUNT, 40).await;
    stack.until_balance(ACCOUNT, 390).await;
    let lost = [&direct, &asked].map(|recharge| text(&recharge["tx_no"]));
    for tx_no in &lost {
        stack.until_notification(&stack.account_subscription, tx_no, "delivered").await;
    }

    stack.kill(Service::Account);
    backup.restore().await;
    stack.restart(Service::Account).await;
    assert_eq!(stack.balance(ACCOUNT).await, 100);
    let second = |recharge: &Value, later: i64| {
        let created: chrono::DateTime<chrono::Utc> = text(&recharge["created_at"]).parse().expect("a time");
        json!((created + chrono::TimeDelta::seconds(later)).format("%Y-%m-%dT%H:%M:%SZ").to_string())
    };
    let period = json!({ "from": second(&kept, 0), "to": second(&direct, 5) });
    let begun = eventually("the period is over for a minute", OVER, async || {
        let begun = stack.account.post("/v1/reconciliations", &period).await;
        (begun.status == 202).then_some(begun)
    });
    let path = format!("/v1/reconciliations/{}", text(&begun.await.json()["id"]));
    let run = eventually("the reconciliation is finished", OVER, async || {
        let run = stack.account.get(&path).await.expect(200);
        (run["state"] == "finished").then_some(run)
    })
    .await;
    assert_eq!(run["differences"]["missing_here"], 2, "{run}");
    assert_eq!(stack.balance(ACCOUNT).await, 390);

    for tx_no in &lost {
        let sent = stack.notifications(&stack.account_subscription, tx_no).await.remove(0);
        stack.notifier.post(&format!("/v1/notifications/{}/resend", text(&sent["id"])), &json!({})).await;
        stack.until_notification(&stack.account_subscription, tx_no, "delivered").await;
    }
    assert_eq!((stack.balance(ACCOUNT).await, stack.credits(ACCOUNT).await.len()), (390, 3));
}
