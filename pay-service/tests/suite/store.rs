//! What every store must do.

use std::sync::Arc;

use futures_util::future::join_all;
use pay_service::domain::{Order, OrderDraft, OrderNo, Outcome, StatusName};
use pay_service::store::{NewRecharge, Stored};
use runtime::testing::manual_sources;

use crate::backend::Backend;
use crate::support::{draft, order, outbox, settled, taken};

fn failed() -> Outcome {
    Outcome::Failed { failure: "余额不足".into() }
}

#[tokio::test]
async fn what_is_stored_is_read_back_exactly() {
    let (backend, (sources, _)) = (Backend::fresh().await, manual_sources(1));
    let odd = OrderDraft {
        merchant: "shop.2_a-b".into(),
        merchant_order_no: "~!@#$%^&*()'\"\\;--".into(),
        account_no: "账号 1".into(),
        amount: 1_000_000_000_000,
        currency: Some("XOF".into()),
        attach: Some("\u{1}\n'\"\\\u{10FFFF}长".into()),
        ..draft("", "wechatpay")
    };
    let odd = taken(&sources, Order::new(odd).expect("valid"));
    let plain = taken(&sources, order("plain", "instant"));
    let batch = [odd.clone(), plain.clone()];
    assert_eq!(
        backend.store.create(&batch, None, sources.clock.now()).await.expect("stored"),
        [Stored::New, Stored::New]
    );
    for NewRecharge { recharge, .. } in batch {
        let by_number = backend.store.recharge(recharge.tx_no).await.expect("read");
        let by_order = backend
            .store
            .recharge_of_order(&recharge.order.merchant, &recharge.order.merchant_order_no)
            .await;
        assert_eq!(by_number.as_ref(), Some(&recharge));
        assert_eq!(by_order.expect("read"), Some(recharge));
    }
}

#[tokio::test]
async fn each_result_is_read_back_with_its_data() {
    let (backend, (sources, clock)) = (Backend::fresh().await, manual_sources(1));
    for (index, outcome) in [Outcome::Succeeded, failed(), Outcome::Closed].into_iter().enumerate() {
        let pending = taken(&sources, order(&format!("order-{index}"), "sandbox")).recharge;
        let new = NewRecharge { recharge: pending.clone(), event: None };
        backend.store.create(&[new], None, sources.clock.now()).await.expect("stored");
        clock.advance(std::time::Duration::from_micros(1_234_567));
        let (settled, event) = settled(&sources, &pending, outcome);
        assert!(backend.store.settle(&settled, &event, sources.clock.now()).await.expect("settled"));
        assert_eq!(backend.store.recharge(pending.tx_no).await.expect("read"), Some(settled));
    }
}

#[tokio::test]
async fn what_is_not_there_is_none() {
    let (backend, (sources, _)) = (Backend::fresh().await, manual_sources(1));
    let order_no = OrderNo::new("nothing").expect("valid");
    assert_eq!(backend.store.recharge(sources.ids.next()).await.expect("read"), None);
    assert_eq!(backend.store.recharge_of_order("shop", &order_no).await.expect("read"), None);
    assert_eq!(backend.store.create(&[], None, sources.clock.now()).await.expect("nothing to do"), []);
}

/// Law 1, creating. Refusing only at the commit also catches a half written outside of the transaction.
#[tokio::test]
async fn a_new_result_and_its_event_are_stored_together_or_not_at_all() {
    let (backend, (sources, _)) = (Backend::fresh().await, manual_sources(1));
    let new = taken(&sources, order("order-1", "instant"));
    let read = async || backend.store.recharge(new.recharge.tx_no).await.expect("read");
    for table in ["outbox", "recharges"] {
        backend.refuse_inserts(table).await;
        backend
            .store
            .create(std::slice::from_ref(&new), None, sources.clock.now())
            .await
            .expect_err("half of it can't be stored");
        backend.allow_inserts().await;
        assert_eq!(read().await, None, "no recharge stays when {table} refuses");
        assert_eq!(outbox(&*backend.store).await.len(), 0, "no event stays when {table} refuses");
    }
    backend.store.create(std::slice::from_ref(&new), None, sources.clock.now()).await.expect("stored");
    assert!(read().await.is_some());
    let events = outbox(&*backend.store).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].to_json(), new.event.expect("instant is final").to_json());
}

/// Law 1, settling.
#[tokio::test]
async fn a_later_result_and_its_event_are_stored_together_or_not_at_all() {
    let (backend, (sources, _)) = (Backend::fresh().await, manual_sources(1));
    let pending = taken(&sources, order("order-1", "sandbox"));
    backend.store.create(std::slice::from_ref(&pending), None, sources.clock.now()).await.expect("stored");
    assert_eq!(outbox(&*backend.store).await.len(), 0, "a pending recharge has no result to tell");
    let (settled, event) = settled(&sources, &pending.recharge, Outcome::Closed);
    backend.refuse_inserts("outbox").await;
    backend.store.settle(&settled, &event, sources.clock.now()).await.expect_err("the event can't be stored");
    backend.allow_inserts().await;
    let after = backend.store.recharge(pending.recharge.tx_no).await.expect("read");
    assert_eq!(after, Some(pending.recharge), "it stays pending");
    assert!(backend.store.settle(&settled, &event, sources.clock.now()).await.expect("settled"));
    assert_eq!(outbox(&*backend.store).await.len(), 1);
}

#[tokio::test]
async fn one_bad_row_of_a_batch_leaves_no_trace_of_the_others() {
    let (backend, (sources, _)) = (Backend::fresh().await, manual_sources(1));
    let good = taken(&sources, order("order-1", "instant"));
    let mut bad = taken(&sources, order("order-2", "instant"));
    bad.recharge.tx_no = good.recharge.tx_no;
    backend
        .store
        .create(&[good.clone(), bad], None, sources.clock.now())
        .await
        .expect_err("two rows of one number");
    assert_eq!(backend.store.recharge(good.recharge.tx_no).await.expect("read"), None);
    assert_eq!(outbox(&*backend.store).await.len(), 0);
}

#[tokio::test]
async fn an_order_number_is_taken_once_per_merchant_also_inside_a_batch() {
    let (backend, (sources, _)) = (Backend::fresh().await, manual_sources(1));
    let first = taken(&sources, order("order-1", "instant"));
    let again = taken(&sources, order("order-1", "sandbox"));
    let others = OrderDraft { merchant: "other".into(), ..draft("order-1", "instant") };
    let others = taken(&sources, Order::new(others).expect("valid"));
    let later = taken(&sources, order("order-1", "alipay"));
    let batch = [first.clone(), again, others.clone(), later];
    let stored = backend.store.create(&batch, None, sources.clock.now()).await.expect("stored");
    let before = Stored::Before(Box::new(first.recharge.clone()));
    assert_eq!(
        stored,
        [Stored::New, before.clone(), Stored::New, before.clone()],
        "the first of a batch wins"
    );
    let kept = backend.store.recharge_of_order("shop", &first.recharge.order.merchant_order_no).await;
    assert_eq!(kept.expect("read").as_ref(), Some(&first.recharge));
    let repeated = taken(&sources, order("order-1", "instant"));
    assert_eq!(backend.store.create(&[repeated], None, sources.clock.now()).await.expect("stored"), [before]);
    let events: Vec<_> =
        outbox(&*backend.store).await.into_iter().filter_map(|event| event.subject).collect();
    assert_eq!(events, [first, others].map(|new| new.recharge.tx_no.to_string()));
}

#[tokio::test]
async fn of_many_creating_the_same_order_at_once_exactly_one_does() {
    let (backend, (sources, _)) = (Backend::fresh().await, manual_sources(1));
    let attempts = (0..64).map(|index| {
        let (store, sources) = (backend.store.clone(), sources.clone());
        tokio::spawn(async move {
            // The shared order among others of its own, in either order: no batch blocks another for good.
            let mut batch = vec![
                taken(&sources, order("shared-1", "instant")),
                taken(&sources, order("shared-2", "instant")),
            ];
            if index % 2 == 0 {
                batch.reverse();
            }
            store.create(&batch, None, sources.clock.now()).await.expect("stored")
        })
    });
    let stored: Vec<Stored> =
        join_all(attempts).await.into_iter().flat_map(|stored| stored.expect("no panic")).collect();
    assert_eq!(stored.iter().filter(|stored| **stored == Stored::New).count(), 2);
    assert_eq!(outbox(&*backend.store).await.len(), 2, "one event for each");
}

#[tokio::test]
async fn of_many_results_told_at_once_exactly_one_is_kept() {
    let (backend, (sources, _)) = (Backend::fresh().await, manual_sources(1));
    let pending = Arc::new(taken(&sources, order("order-1", "sandbox")).recharge);
    let new = NewRecharge { recharge: (*pending).clone(), event: None };
    backend.store.create(&[new], None, sources.clock.now()).await.expect("stored");
    let attempts = (0..64).map(|index| {
        let (store, sources, pending) = (backend.store.clone(), sources.clone(), pending.clone());
        tokio::spawn(async move {
            let outcome = if index % 2 == 0 { Outcome::Succeeded } else { failed() };
            let (settled, event) = settled(&sources, &pending, outcome);
            store.settle(&settled, &event, sources.clock.now()).await.expect("answered").then_some(settled)
        })
    });
    let kept: Vec<_> =
        join_all(attempts).await.into_iter().filter_map(|settled| settled.expect("no panic")).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(backend.store.recharge(pending.tx_no).await.expect("read").as_ref(), kept.first());
    let events = outbox(&*backend.store).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind == "recharge.succeeded", kept[0].status.name() == StatusName::Succeeded);
}
