//! What pay-service answers where it is asked for its statement: a page, something wrong, or nothing.

use std::sync::Arc;
use std::time::Duration;

use account_service::domain::CreditSource;
use account_service::pay_service::PayService;
use serde_json::{Value, json};

use super::statement::{begin, difference, found, items, show, walked, world};
use crate::support::database::Database;
use crate::support::pay_service::{WAYS, Way, client, failing};
use crate::support::scripted::Scripted;
use crate::support::service::World;
use crate::support::{arrival, as_json, noon, open_account, paid, tx};

/// A reconciliation of a day of which one credit is here, and no page has been read.
struct Unread {
    database: Database,
    path: String,
}

impl Unread {
    async fn begun(database: Database) -> Self {
        let world = World::new(database).await;
        open_account(&*world.store, "A").await;
        let credited = [arrival(paid(tx(2), "A", 50))];
        world.store.post(&credited, noon()).await.expect("the store answers");
        let path = begin(&world).await;
        Self { database: world.database, path }
    }

    /// Walks on with a pay-service that answers no page, which costs time and nothing else (law 9).
    /// What is said of it.
    async fn error_of(&self, pay_service: impl PayService, how: &str) -> String {
        let world = World::asking(self.database.shared(), Arc::new(pay_service)).await;
        world.database.execute("UPDATE reconciliations SET due_at = asked_at").await;
        world.reconcile().await;
        let run = show(&world, &self.path).await;
        assert_eq!((&run["state"], &run["progress"]["pages"]), (&json!("running"), &json!(0)), "{how}");
        assert!(items(&world, &format!("{}/differences", self.path)).await.is_empty(), "{how}");
        assert!(items(&world, "/v1/exceptions").await.is_empty(), "{how}");
        assert_eq!(world.database.totals().await, [1, 50, 1, 50, 0], "{how}");
        run["last_error"].as_str().unwrap_or_else(|| panic!("{how}: {run}")).to_owned()
    }
}

pub async fn a_failing_pay_service_is_told_as_unknown(database: Database) {
    let right = paid(tx(1), "A", 100);
    let unread = Unread::begun(database).await;
    for Way { how, .. } in WAYS {
        let failing = failing(how, &right).await;
        let error = unread.error_of(failing.client.clone(), how).await;
        assert!(error.starts_with("pay-service"), "{how}: {error}");
    }
    let Unread { database, path } = unread;
    let world = World::asking(database, Arc::new(Scripted::knowing(&[right]))).await;
    world.reconcile().await;
    assert_eq!(show(&world, &path).await["state"], "running", "it is put off");
    world.clock.advance(Duration::from_mins(10));
    world.reconcile().await;
    let run = show(&world, &path).await;
    assert_eq!((&run["state"], &run["last_error"]), (&json!("finished"), &json!(null)));
    assert_eq!(found(&world, &path).await, [difference(1, "missing_here"), difference(2, "not_there")]);
}

/// Pages that are well-formed and not what was asked for, and why not.
fn wrong_pages() -> Vec<(&'static str, Value)> {
    let (first, second) = (as_json(&paid(tx(1), "A", 100)), as_json(&paid(tx(2), "A", 100)));
    let page = |items: &[&Value], next: Value| json!({ "items": items, "next_cursor": next });
    let with = |field: &str, value: Value| {
        let mut other = first.clone();
        other[field] = value;
        page(&[&other, &second], json!(null))
    };
    let full: Vec<Value> = (1..=201).map(|n| as_json(&paid(tx(n), "A", 100))).collect();
    vec![
        ("another merchant", with("merchant", json!("shop"))),
        ("not of the period", with("tx_no", json!("018ff000-0000-7000-8000-000000000000"))),
        ("not of the period", with("tx_no", json!("01910000-0000-7000-8000-000000000000"))),
        ("out of order", page(&[&second, &first], json!(null))),
        ("out of order, or again", page(&[&first, &first], json!(null))),
        ("holds nothing", page(&[], json!("AQAA"))),
        ("can't be read", json!({ "items": [first] })),
        ("can't be read", json!({ "items": [first], "next_cursor": 7 })),
        ("can't be read", json!({ "items": { "0": first }, "next_cursor": null })),
        ("can't be read", json!({ "next_cursor": null })),
        ("line that can't be read", with("amount", json!(0))),
        ("line that can't be read", with("amount", json!("100"))),
        ("line that can't be read", with("status", json!("maybe"))),
        ("line that can't be read", with("account_no", json!("\u{0}"))),
        ("line that can't be read", page(&[&json!(null)], json!(null))),
        ("201 recharges of 200", page(&full.iter().collect::<Vec<_>>(), json!(null))),
    ]
}

pub async fn a_wrong_page_is_reported_and_becomes_no_difference(database: Database) {
    let unread = Unread::begun(database).await;
    for (why, page) in wrong_pages() {
        let server = wiremock::MockServer::start().await;
        let answer = wiremock::ResponseTemplate::new(200).set_body_json(&page);
        wiremock::Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
        let error = unread.error_of(client(&server.uri()), why).await;
        assert!(error.contains(why), "{why}: {error}");
    }
}

/// As pay-service speaks it: each page is asked for after the one before.
pub async fn the_statement_is_asked_for_page_by_page_over_http(database: Database) {
    use wiremock::matchers::{header, method, path, query_param, query_param_is_missing};
    let server = wiremock::MockServer::start().await;
    let there: Vec<Value> = (1..=201).map(|n| as_json(&paid(tx(n), "A", 100))).collect();
    let asked = || {
        wiremock::Mock::given(method("GET"))
            .and(path("/v1/recharges"))
            .and(header("authorization", "Bearer pay-key"))
            .and(query_param("created_from", "2024-06-10T00:00:00.000Z"))
            .and(query_param("created_to", "2024-06-11T00:00:00.000Z"))
            .and(query_param("limit", "200"))
    };
    let page = |items: &[Value], next: Value| {
        wiremock::ResponseTemplate::new(200).set_body_json(json!({ "items": items, "next_cursor": next }))
    };
    let first = asked().and(query_param_is_missing("after")).respond_with(page(&there[..200], json!("AQ")));
    first.expect(1).mount(&server).await;
    let second = asked().and(query_param("after", tx(200).to_string()));
    second.respond_with(page(&there[200..], json!(null))).expect(1).mount(&server).await;
    let world = world(database, client(&server.uri())).await;
    let path = walked(&world).await;
    let run = show(&world, &path).await;
    let progress = json!({ "compared_to": "2024-06-11T00:00:00Z", "pages": 2, "recharges": 201 });
    assert_eq!((&run["state"], &run["progress"]), (&json!("finished"), &progress));
    let credit = world.store.credit(tx(201)).await.expect("the store answers").expect("a credit");
    assert_eq!(credit.source, CreditSource::Statement);
}
