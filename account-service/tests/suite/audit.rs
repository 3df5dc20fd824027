//! The audit: Σ credits against balances, all at one moment.

use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::service::World;
use crate::support::{arrival, noon, open_account, paid, tx};

async fn audit(world: &World) -> Value {
    let answer = world.get("/v1/audit").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

pub async fn books_in_order_are_balanced(database: Database) {
    let world = World::new(database).await;
    let empty = json!({ "balanced": true, "totals": [], "differing_accounts": 0, "differences": [] });
    assert_eq!(audit(&world).await, empty);
    for account_no in ["A", "B", "never credited"] {
        open_account(&*world.store, account_no).await;
    }
    let batch = [arrival(paid(tx(1), "A", 100)), arrival(paid(tx(2), "B", 7)), arrival(paid(tx(3), "A", 23))];
    world.store.post(&batch, noon()).await.expect("the store answers");
    let total = json!({ "currency": "CNY", "accounts": 3, "credits": 3, "balances": 130, "credited": 130 });
    let expected = json!({ "balanced": true, "totals": [total], "differing_accounts": 0, "differences": [] });
    assert_eq!(audit(&world).await, expected);
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
