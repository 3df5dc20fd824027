//! A walk over 100 000 recharges with one in a hundred of each kind of difference: exactly those are
//! found, and memory does not grow with their number. In a process of its own, so that it can be measured.

#[allow(dead_code, reason = "of what the suites need, this needs a part")]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use account_service::domain::{
    Amount, Arrival, CreditSource, DifferenceKind, ExceptionFilter, ExceptionKind, Recharge, Request, Status,
};
use account_service::pay_service::{
    Answer, NotCreated, PayService, StatementPage, StatementQuery, Unanswered,
};
use async_trait::async_trait;
use runtime::background::Progress;
use runtime::http::Page;
use serde_json::json;
use tokio::sync::Mutex;
use uuid::Uuid;

use support::database::Database;
use support::service::World;
use support::{noon, number, open_account, paid, scripted};

const RECHARGES: u64 = 100_000;
/// How much memory the walk may take over what it took for its first pages, in KiB. All that it is told
/// of would take ten times as much.
const MOST_GROWTH: u64 = 12 * 1024;
/// One walk is measured at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The recharge of this place: 800 ms after the one before it, on 10 June 2024.
fn tx_no(place: u64) -> Uuid {
    let millis = 1_717_977_600_000 + u128::from(place) * 800;
    Uuid::from_u128((millis << 80) | (7 << 76) | (2 << 62) | u128::from(place))
}

fn place(tx_no: Uuid) -> u64 {
    u64::try_from(tx_no.as_u128() & 0xFFFF_FFFF).expect("32 bits")
}

fn agreed(place: u64) -> Recharge {
    let amount = i64::try_from(place % 997 + 1).expect("small");
    paid(tx_no(place), &format!("A{}", place % 50), amount)
}

/// What the statement holds of this place; of a hundred one each differs in one way.
fn there(place: u64) -> Option<Recharge> {
    let agreed = agreed(place);
    let undecided = [Status::Pending, Status::Failed, Status::Closed];
    let status = undecided[usize::try_from(place / 100 % 3).expect("small")];
    match place % 100 {
        1 => Some(Recharge { account_no: number("nobody"), ..agreed }),
        2 | 7 => Some(Recharge { status, ..agreed }),
        3 => None,
        4 => Some(Recharge { account_no: number("A-other"), ..agreed }),
        5 => Some(Recharge { currency: "USD".parse().expect("a code"), ..agreed }),
        6 => {
            let amount = Amount::new(agreed.amount.minor_units() + 1).expect("an amount");
            Some(Recharge { amount, ..agreed })
        }
        _ => Some(agreed),
    }
}

/// What was credited of it.
fn here(place: u64) -> Option<Recharge> {
    (!matches!(place % 100, 0 | 1 | 7)).then(|| agreed(place))
}

fn kind(place: u64) -> Option<DifferenceKind> {
    match place % 100 {
        0 => Some(DifferenceKind::MissingHere),
        1 => Some(DifferenceKind::Refused),
        2 => Some(DifferenceKind::NotSucceededThere),
        3 => Some(DifferenceKind::NotThere),
        4 => Some(DifferenceKind::AccountDiffers),
        5 => Some(DifferenceKind::CurrencyDiffers),
        6 => Some(DifferenceKind::AmountDiffers),
        _ => None,
    }
}

/// Makes each page when it is asked for.
struct Statement;

#[async_trait]
impl PayService for Statement {
    async fn create(&self, _: &Request) -> Result<Answer, NotCreated> {
        Err(NotCreated::Unknown(Unanswered::Status(500)))
    }

    async fn payresult(&self, _: Uuid) -> Result<Option<Answer>, Unanswered> {
        Err(Unanswered::Status(500))
    }

    async fn payresult_of_order(&self, _: Uuid) -> Result<Option<Answer>, Unanswered> {
        Err(Unanswered::Status(500))
    }

    async fn statement(&self, query: &StatementQuery) -> Result<StatementPage, Unanswered> {
        let first = query.after.map_or(0, |after| place(after) + 1);
        let mut rest = (first..RECHARGES).filter_map(there);
        let page = rest.by_ref().take(query.limit.into());
        let recharges = page.map(|recharge| scripted::answer(&recharge)).collect();
        Ok(StatementPage { recharges, more: rest.next().is_some() })
    }
}

async fn credited_world(database: Database) -> World {
    let world = World::asking(database, Arc::new(Statement)).await;
    for account in 0..50 {
        open_account(&*world.store, &format!("A{account}")).await;
    }
    open_account(&*world.store, "A-other").await;
    for thousand in 0..RECHARGES / 1000 {
        let credits = (thousand * 1000..(thousand + 1) * 1000).filter_map(here);
        let credits: Vec<Arrival> =
            credits.map(|recharge| Arrival::new(recharge, CreditSource::Webhook, "{}")).collect();
        world.store.post(&credits, noon()).await.expect("the store answers");
    }
    world
}

/// This process's own memory, without files that are mapped into it, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// How many pages it took, and by how much memory grew after the first fifty.
async fn walk(world: &World) -> (usize, u64) {
    let (mut pages, mut before) = (0, 0);
    let mut worker = world.reconciliations.lock().await;
    while worker.run_once().await.expect("the round succeeds") == Progress::More {
        pages += 1;
        if pages == 50 {
            before = memory();
        }
    }
    (pages, memory().saturating_sub(before))
}

/// Reads the differences as they are listed and holds each against what was seeded.
async fn assert_exactly_those(world: &World, id: Uuid) {
    let (mut after, mut expected) = (None, (0..RECHARGES).filter(|place| kind(*place).is_some()));
    loop {
        let page = Page { limit: 200, after };
        let found = world.store.differences(id, None, page).await.expect("the store answers");
        for difference in &found {
            let place = expected.next().expect("no more than was seeded");
            assert_eq!((difference.tx_no, Some(difference.kind)), (tx_no(place), kind(place)));
            let is_credited = difference.kind == DifferenceKind::MissingHere;
            assert_eq!(difference.exception_id.is_none(), is_credited, "{difference:?}");
        }
        after = found.last().map(|difference| difference.tx_no);
        if after.is_none() {
            assert_eq!(expected.next(), None, "no less than was seeded");
            return;
        }
    }
}

/// Count and sum per currency.
fn sums(recharges: impl Iterator<Item = Recharge>) -> BTreeMap<String, (u64, i128)> {
    let mut sums: BTreeMap<String, (u64, i128)> = BTreeMap::new();
    for recharge in recharges {
        let sum = sums.entry(recharge.currency.to_string()).or_default();
        *sum = (sum.0 + 1, sum.1 + i128::from(recharge.amount.minor_units()));
    }
    sums
}

#[expect(clippy::print_stdout, reason = "the figures, for who asks with --nocapture")]
async fn exactly_the_seeded_differences_are_found_in_bounded_memory(database: Database) {
    let _alone = ALONE.lock().await;
    let world = credited_world(database).await;
    let day = json!({ "from": "2024-06-10T00:00:00Z", "to": "2024-06-11T00:00:00Z" });
    let begun = world.post("/v1/reconciliations", &day).await;
    let id: Uuid = begun.body["id"].as_str().expect("an id").parse().expect("an id");
    let started = tokio::time::Instant::now();
    let (pages, growth) = walk(&world).await;
    println!("{pages} pages in {:?}, {growth} KiB more", started.elapsed());
    assert!(growth < MOST_GROWTH, "memory grew by {growth} KiB over {pages} pages");
    assert_exactly_those(&world, id).await;
    let run = world.store.reconciliation(id).await.expect("the store answers").expect("it was begun");
    assert!(run.is_finished());
    let counts: Vec<u64> = run.progress.differences.values().copied().collect();
    assert_eq!(counts, [RECHARGES / 100; 7]);
    let statement = (0..RECHARGES).filter_map(there).filter(|recharge| recharge.status == Status::Succeeded);
    let sides = [sums(statement), sums((0..RECHARGES).filter_map(here))];
    let credited = sums((0..RECHARGES).filter(|place| place % 100 == 0).map(agreed));
    for (currency, found) in run.progress.totals.iter() {
        let of =
            |sums: &BTreeMap<String, (u64, i128)>| sums.get(currency.as_str()).copied().unwrap_or_default();
        assert_eq!((found.there.count, found.there.amount), of(&sides[0]), "{currency} there");
        assert_eq!((found.here.count, found.here.amount), of(&sides[1]), "{currency} here");
        assert_eq!((found.credited.count, found.credited.amount), of(&credited), "{currency} credited");
    }
    let standing = world.store.standing().await.expect("the store answers");
    let mut open = standing.open_exceptions;
    open.sort_unstable();
    let thousand = RECHARGES / 100;
    let expected = [
        (ExceptionKind::UnknownAccount, thousand),
        (ExceptionKind::ContradictsCredit, 4 * thousand),
        (ExceptionKind::NotAtPayService, thousand),
    ];
    assert_eq!(open, expected);
    assert!(world.store.audit(10).await.expect("the store answers").balanced());
    let filter = ExceptionFilter { tx_no: Some(tx_no(3)), ..ExceptionFilter::default() };
    let kept = world.store.exceptions(filter, Page { limit: 10, after: None }).await;
    assert_eq!(kept.expect("the store answers").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    exactly_the_seeded_differences_are_found_in_bounded_memory(Database::sqlite().await).await;
}

/// Only with `RINGBACK_LONG_TESTS=1`.
#[cfg(feature = "server-tests")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    if runtime::testing::is_long() {
        exactly_the_seeded_differences_are_found_in_bounded_memory(Database::postgres().await).await;
    }
}
