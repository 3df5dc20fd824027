//! The audit: Σ credits against balances, all at one moment.

use std::sync::Arc;

use serde_json::{Value, json};

use super::statement::walked;
use crate::support::scripted::Scripted;

use crate::support::database::Database;
use crate::support::service::World;
use crate::support::{arrival, noon, open_account, paid, tx};

async fn audit(world: &World) -> Value {
    let answer = world.get("/v1/audit").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// What is said of the ledger itself.
fn ledger(audit: &Value) -> Value {
    let fields = ["balanced", "totals", "differing_accounts", "differences"];
    fields.into_iter().map(|field| (field.to_owned(), audit[field].clone())).collect()
}

pub async fn books_in_order_are_balanced(database: Database) {
    let world = World::new(database).await;
    let empty = json!({ "balanced": true, "totals": [], "differing_accounts": 0, "differences": [] });
    assert_eq!(ledger(&audit(&world).await), empty);
    for account_no in ["A", "B", "never credited"] {
        open_account(&*world.store, account_no).await;
    }
    let batch = [arrival(paid(tx(1), "A", 100)), arrival(paid(tx(2), "B", 7)), arrival(paid(tx(3), "A", 23))];
    world.store.post(&batch, noon()).await.expect("the store answers");
    let total = json!({ "currency": "CNY", "accounts": 3, "credits": 3, "balances": 130, "credited": 130 });
    let expected = json!({ "balanced": true, "totals": [total], "differing_accounts": 0, "differences": [] });
    assert_eq!(ledger(&audit(&world).await), expected);
}

/// Balanced books may lack credits: the answer says so, and counts what is open.
pub async fn the_audit_says_what_it_does_not_check_and_what_is_open(database: Database) {
    let pay = Scripted::knowing(&[paid(tx(1), "nobody", 1), paid(tx(2), "A", 5)]);
    let world = World::asking(database, Arc::new(pay)).await;
    open_account(&*world.store, "A").await;
    let before = audit(&world).await;
    assert_eq!((&before["balanced"], &before["open_exceptions"]), (&json!(true), &json!(0)));
    assert!(before["checks"].as_str().is_some_and(|text| text.contains("the ledger against itself")));
    assert!(before["does_not_check"].as_str().is_some_and(|text| text.contains("pay-service")));
    let known = json!({ "nightly": "off", "last_reconciled_day": null, "unreconciled_days": null,
                        "unreconciled": [], "running": 0, "open_differences": 0 });
    assert_eq!(before["reconciliation"], known);
    walked(&world).await;
    let after = audit(&world).await;
    assert_eq!(after["balanced"], true);
    assert_eq!((&after["open_exceptions"], &after["waiting_requests"]), (&json!(1), &json!(0)));
    assert_eq!(after["open_exceptions_by_kind"], json!({ "unknown_account": 1 }));
    assert_eq!(after["reconciliation"]["open_differences"], 1);
}

pub async fn credits_whose_orders_are_not_known_are_counted(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    world.store.post(&[arrival(paid(tx(1), "A", 100))], noon()).await.expect("the store answers");
    assert_eq!(audit(&world).await["credits_without_order"], 0);
    // As an earlier version left it.
    let old = format!(
        "INSERT INTO credits (tx_no, account_no, amount, currency, source, event_id, credited_at)
         SELECT {}, account_no, amount, currency, source, event_id, credited_at FROM credits",
        world.database.uuid(tx(2))
    );
    world.database.execute(&old).await;
    let found = audit(&world).await;
    assert_eq!((&found["credits_without_order"], &found["balanced"]), (&json!(1), &json!(true)));
    world.store.post(&[arrival(paid(tx(2), "A", 100))], noon()).await.expect("the store answers");
    assert_eq!(audit(&world).await["credits_without_order"], 0, "it has learnt its number");
}

/// Balances whose sum needs more than 64 bits are summed up as well.
pub async fn a_balance_that_is_not_the_sum_of_its_credits_is_found(database: Database) {
    let world = World::new(database).await;
    for account_no in ["A", "B", "C"] {
        open_account(&*world.store, account_no).await;
        world
            .store
            .post(&[arrival(paid(tx(account_no.as_bytes()[0].into()), account_no, 100))], noon())
            .await
            .expect("the store answers");
    }
    world.database.falsify_balance("A", 99).await;
    world.database.falsify_balance("C", i64::MAX).await;
    let found = audit(&world).await;
    assert_eq!((&found["balanced"], &found["differing_accounts"]), (&json!(false), &json!(2)));
    let differences = json!([
        { "account_no": "A", "currency": "CNY", "balance": 99, "credited": 100 },
        { "account_no": "C", "currency": "CNY", "balance": i64::MAX, "credited": 100 },
    ]);
    assert_eq!(found["differences"], differences);
    assert_eq!(found["totals"][0]["credited"], 300);
    world.database.falsify_balance("A", i64::MAX).await;
    world.database.falsify_balance("B", i64::MAX).await;
    let large = world.store.audit(100).await.expect("the store answers");
    assert_eq!(large.totals[0].balances, 3 * i128::from(i64::MAX));
    assert_eq!(audit(&world).await["differing_accounts"], 3);
}

pub async fn the_differing_accounts_that_are_listed_are_bounded(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "000").await;
    let like_it = |number: u8| {
        format!(
            "INSERT INTO accounts (account_no, account_name, currency, created_at)
             SELECT '{number:03}', account_name, currency, created_at FROM accounts WHERE account_no = '000'"
        )
    };
    let others: Vec<String> = (1..105).map(like_it).collect();
    world.database.execute(&format!("BEGIN; {}; COMMIT", others.join("; "))).await;
    world.database.falsify_balance("%", 1).await;
    let found = audit(&world).await;
    assert_eq!(found["differing_accounts"], 105);
    let listed = found["differences"].as_array().expect("a list");
    assert_eq!((listed.len(), &listed[99]["account_no"]), (100, &json!("099")));
}
