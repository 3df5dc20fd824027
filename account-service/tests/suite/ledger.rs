//! The books: law 8, and that one refusal holds no other result back.

use std::sync::Arc;

use account_service::domain::{Amount, Credit, Recharge, Refusal, Status, Verdict};
use account_service::store::Store;
use tokio::task::JoinSet;

use crate::support::database::Database;
use crate::support::{arrival, balance, noon, open_account, paid, tx};

async fn post(store: &dyn Store, recharges: &[Recharge]) -> Vec<Verdict> {
    let arrivals: Vec<_> = recharges.iter().cloned().map(arrival).collect();
    store.post(&arrivals, noon()).await.expect("the store answers")
}

fn is_credited(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Credited(_))
}

pub async fn a_batch_credits_each_account_by_its_sum(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    open_account(&*store, "B").await;
    let batch = [paid(tx(1), "A", 100), paid(tx(2), "B", 7), paid(tx(3), "A", 23)];
    let verdicts = post(&*store, &batch).await;
    assert!(verdicts.iter().all(is_credited), "{verdicts:?}");
    assert_eq!((balance(&*store, "A").await, balance(&*store, "B").await), (123, 7));
    let stored = store.credit(tx(2)).await.expect("the store answers");
    assert_eq!(Some(Verdict::Credited(stored.expect("a credit"))).as_ref(), verdicts.get(1));
    assert_eq!(post(&*store, &[]).await, []);
}

pub async fn a_tx_no_credits_once_within_and_across_batches(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    let recharge = paid(tx(1), "A", 100);
    let batch = vec![recharge.clone(); 50];
    let first = post(&*store, &batch).await;
    assert!(is_credited(&first[0]), "{first:?}");
    assert!(first[1..].iter().all(|verdict| matches!(verdict, Verdict::Already(_))), "{first:?}");
    for _ in 0..3 {
        let again = post(&*store, &batch).await;
        assert!(again.iter().all(|verdict| matches!(verdict, Verdict::Already(_))), "{again:?}");
    }
    assert_eq!(database.totals().await, [1, 100, 1, 100, 0]);
}

pub async fn a_refused_result_holds_no_other_back(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    let dollars = Recharge { currency: "USD".parse().expect("a code"), ..paid(tx(2), "A", 5) };
    let batch =
        [paid(tx(1), "nobody", 5), dollars, paid(tx(3), "A", 10), paid(tx(3), "A", 11), paid(tx(4), "A", 20)];
    let verdicts = post(&*store, &batch).await;
    assert_eq!(verdicts[0], Verdict::Refused(Refusal::UnknownAccount));
    assert!(matches!(verdicts[1], Verdict::Refused(Refusal::CurrencyMismatch(_))), "{verdicts:?}");
    assert!(is_credited(&verdicts[2]) && is_credited(&verdicts[4]), "{verdicts:?}");
    assert_eq!(verdicts[3], Verdict::Refused(Refusal::ContradictsCredit));
    assert_eq!(database.totals().await, [1, 30, 2, 30, 0]);
}

pub async fn a_result_that_contradicts_its_credit_is_refused(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    open_account(&*store, "B").await;
    post(&*store, &[paid(tx(1), "A", 100)]).await;
    let failed = Recharge { status: Status::Failed, ..paid(tx(1), "A", 100) };
    for contradiction in [paid(tx(1), "A", 101), paid(tx(1), "B", 100), failed] {
        let verdicts = post(&*store, &[contradiction]).await;
        assert_eq!(verdicts, [Verdict::Refused(Refusal::ContradictsCredit)]);
    }
    let late = Recharge { status: Status::Pending, ..paid(tx(1), "A", 100) };
    assert_eq!(post(&*store, &[late]).await, [Verdict::Noted]);
    assert_eq!(database.totals().await, [2, 100, 1, 100, 0]);
}

pub async fn a_balance_never_overflows(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    database.falsify_balance("A", i64::MAX - 10).await;
    let verdicts = post(&*store, &[paid(tx(1), "A", 9), paid(tx(2), "A", 2), paid(tx(3), "A", 1)]).await;
    assert!(is_credited(&verdicts[0]) && is_credited(&verdicts[2]), "{verdicts:?}");
    assert_eq!(verdicts[1], Verdict::Refused(Refusal::Overflow));
    assert_eq!(balance(&*store, "A").await, i64::MAX);
    let most = paid(tx(4), "A", Amount::MAX);
    assert_eq!(post(&*store, &[most]).await, [Verdict::Refused(Refusal::Overflow)]);
    assert_eq!(store.credit(tx(4)).await.expect("the store answers"), None::<Credit>);
}

/// Law 8, held by the database against whoever else writes to it.
pub async fn the_database_itself_moves_balances_and_keeps_credits_as_they_are(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    post(&*store, &[paid(tx(1), "A", 100)]).await;
    let credited_by_hand = |account_no: &str, amount: i64, currency: &str| {
        format!(
            "INSERT INTO credits (tx_no, account_no, amount, currency, source, event_id, credited_at)
             SELECT {}, '{account_no}', {amount}, '{currency}', source, event_id, credited_at FROM credits",
            database.uuid(tx(2))
        )
    };
    for refused in [
        credited_by_hand("A", 0, "CNY"),
        credited_by_hand("A", 1, "USD"),
        credited_by_hand("nobody", 1, "CNY"),
        "UPDATE credits SET amount = 1".into(),
        "DELETE FROM credits".into(),
        "UPDATE accounts SET balance = -1".into(),
        "DELETE FROM accounts".into(),
        "INSERT INTO accounts SELECT 'B', account_name, currency, 1, created_at FROM accounts".into(),
    ] {
        assert!(database.refuses(&refused).await, "{refused}");
    }
    if matches!(database, Database::Postgres(_)) {
        assert!(database.refuses("UPDATE accounts SET balance = balance + 1").await);
        assert!(database.refuses("TRUNCATE credits").await);
    }
    assert_eq!(database.totals().await, [1, 100, 1, 100, 0]);
    database.execute(&credited_by_hand("A", 23, "CNY")).await;
    assert_eq!(database.totals().await, [1, 123, 2, 123, 0]);
    database.falsify_balance("A", i64::MAX).await;
    let overflow = credited_by_hand("A", 1, "CNY").replace(&database.uuid(tx(2)), &database.uuid(tx(3)));
    assert!(database.refuses(&format!("{overflow} WHERE amount = 100")).await, "a sum beyond 64 bits");
}

/// Law 8: whichever of the two writes fails, neither is there.
pub async fn a_credit_and_its_balance_move_together_or_not_at_all(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    let batch = [arrival(paid(tx(1), "A", 100)), arrival(paid(tx(2), "A", 200))];
    for (event, table) in [("UPDATE", "accounts"), ("INSERT", "credits")] {
        database.break_table(event, table).await;
        store.post(&batch, noon()).await.expect_err("the write fails");
        assert_eq!(database.totals().await, [1, 0, 0, 0, 0], "{event} {table}");
        database.mend_table(table).await;
    }
    let verdicts = store.post(&batch, noon()).await.expect("mended");
    assert!(verdicts.iter().all(is_credited), "{verdicts:?}");
    assert_eq!(database.totals().await, [1, 300, 2, 300, 0]);
}

/// 64 tasks credit 10 000 recharges, each told five times, by five tasks; half of them to one account.
pub async fn many_tasks_at_once_leave_exact_balances(database: Database) {
    const TASKS: usize = 64;
    const RECHARGES: u128 = 10_000;
    let store = database.store().await;
    for account in ["hot", "A", "B", "C", "D"] {
        open_account(&*store, account).await;
    }
    // Written once, since that costs more than posting them.
    let all: Arc<Vec<_>> = Arc::new((0..RECHARGES).map(one_of_many).map(arrival).collect());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, all): (Arc<dyn Store>, _) = (store.clone(), all.clone());
        tasks.spawn(async move {
            let mut credited = 0;
            for round in 0..5 {
                // Every round another task tells of the same share; in every other one the other way round.
                let share = (task + round * 13) % TASKS;
                let own = all.chunks(8).skip(share).step_by(TASKS).flatten();
                let mut told: Vec<_> = own.cloned().collect();
                if round % 2 == 1 {
                    told.reverse();
                }
                let verdicts = store.post(&told, noon()).await.expect("the store answers");
                credited += verdicts.iter().filter(|verdict| is_credited(verdict)).count();
            }
            credited
        });
    }
    let credited: usize = tasks.join_all().await.into_iter().sum();
    assert_eq!(credited, 10_000, "each is credited by one of the five");
    let total = (0..RECHARGES).map(|number| one_of_many(number).amount.minor_units()).sum::<i64>();
    let [accounts, balances, credits, amounts, _] = database.totals().await;
    assert_eq!((accounts, balances, credits, amounts), (5, total, 10_000, total));
    let hot = (0..RECHARGES).step_by(2).map(|number| one_of_many(number).amount.minor_units()).sum::<i64>();
    assert_eq!(balance(&*store, "hot").await, hot);
    let unequal = "SELECT count(*) FROM accounts AS a WHERE balance <>
                   (SELECT coalesce(sum(amount), 0) FROM credits AS c WHERE c.account_no = a.account_no)";
    assert_eq!(database.number(unequal).await, 0);
}

/// Every other one is the hot account's; amounts differ, so that no mistake hides in a sum.
fn one_of_many(number: u128) -> Recharge {
    let account =
        if number.is_multiple_of(2) { "hot" } else { ["A", "B", "C", "D"][(number / 2 % 4) as usize] };
    paid(tx(number), account, 1 + i64::try_from(number).expect("small"))
}

pub async fn one_tx_no_for_two_accounts_credits_one_of_them(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    open_account(&*store, "B").await;
    for round in 0..20 {
        let [a, b] = ["A", "B"].map(|account| [paid(tx(round), account, 10)]);
        let (a, b) = tokio::join!(post(&*store, &a), post(&*store, &b));
        let both = [a, b].concat();
        assert_eq!(both.iter().filter(|verdict| is_credited(verdict)).count(), 1, "{both:?}");
        assert!(both.contains(&Verdict::Refused(Refusal::ContradictsCredit)), "{both:?}");
    }
    assert_eq!(database.totals().await, [2, 200, 20, 200, 0]);
}
