//! Failovers between two real Postgres servers, the standby synchronous: what was answered is kept, and
//! recharges are taken again within 25 s.

#[path = "support/broker.rs"]
#[expect(dead_code, reason = "the suite takes it down and back")]
mod broker;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use pay_service::{Parts, Service, store};
use runtime::keys::Keyring;
use runtime::testing::servers::{PrivateServer, Program};
use runtime::trace::Spans;
use runtime::{Secret, Sources};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

/// How long a failover may take until recharges are taken again.
const BOUND: Duration = Duration::from_secs(25);

/// A primary, and a standby that confirms each commit.
async fn pair() -> (PrivateServer, PrivateServer) {
    let primary = PrivateServer::start(Program::Postgres).await;
    let standby = primary.standby().await;
    set(&primary, "synchronous_standby_names = '*'").await;
    let in_step = "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'";
    let mut administrator = PgConnection::connect(primary.url()).await.expect("the primary answers");
    while !sqlx::query_scalar::<_, bool>(in_step).fetch_one(&mut administrator).await.expect("counted") {
        sleep(Duration::from_millis(50)).await;
    }
    (primary, standby)
}

async fn set(server: &PrivateServer, setting: &str) {
    let mut administrator = PgConnection::connect(server.url()).await.expect("the server answers");
    for sql in [format!("ALTER SYSTEM SET {setting}"), "SELECT pg_reload_conf()".to_owned()] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut administrator).await.expect("an administrator may");
    }
}

fn address(server: &PrivateServer) -> String {
    let (_, address) = server.url().split_once('@').expect("it has a user");
    address.split('/').next().expect("a host").to_owned()
}

async fn service(url: &str) -> Router {
    let store = store::open(&url.parse().expect("a URL"), 6).await.expect("it opens");
    let broker = Arc::new(broker::TestBroker::default());
    let keyring = Keyring::new(Some(&Secret::new("operator")), &"shop=shop".parse().expect("a key"));
    let parts = Parts {
        keyring,
        store,
        broker,
        sources: Sources::system(),
        sandbox_secret: None,
        spans: Spans::off(),
    };
    Service::new(parts).router
}

/// Creates a recharge; its HTTP status.
async fn create(service: &Router, order: &str) -> u16 {
    let body = json!({ "merchant_order_no": order, "account_no": "1", "amount": 1 });
    let request = Request::post("/v1/recharges").header("authorization", "Bearer shop");
    let request = request.header("content-type", "application/json").body(Body::from(body.to_string()));
    let answer = service.clone().oneshot(request.expect("a request")).await.expect("a router never fails");
    answer.status().as_u16()
}

/// Merchants that create recharges one after another.
struct Load {
    answered: watch::Receiver<u64>,
    tasks: Vec<tokio::task::JoinHandle<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(service: &Router) -> Self {
        let (stop, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (answers, answered) = watch::channel(0);
        let tasks = (0..4).map(|_| {
            let (service, stop, number, answers) =
                (service.clone(), stop.clone(), number.clone(), answers.clone());
            tokio::spawn(async move {
                let mut kept = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    let order = format!("order-{}", number.fetch_add(1, Ordering::Relaxed));
                    match create(&service, &order).await {
                        201 => {
                            kept.insert(order);
                            answers.send_modify(|answered| *answered += 1);
                        }
                        status => assert_eq!(status, 503, "an outage is never a defect"),
                    }
                    sleep(Duration::from_millis(10)).await;
                }
                kept
            })
        });
        Self { answered, tasks: tasks.collect(), stop }
    }

    /// Waits for this many more answers.
    async fn more(&mut self, more: u64) {
        let wanted = *self.answered.borrow() + more;
        self.answered.wait_for(|answered| *answered >= wanted).await.expect("the merchants go on");
    }

    /// The orders that were answered 201.
    async fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        for task in self.tasks {
            all.extend(task.await.expect("every answer was 201 or 503"));
        }
        all
    }
}

async fn orders(server: &PrivateServer) -> BTreeSet<String> {
    let mut administrator = PgConnection::connect(server.url()).await.expect("it answers");
    let orders = sqlx::query_scalar("SELECT merchant_order_no FROM recharges");
    orders.fetch_all(&mut administrator).await.expect("the table is there").into_iter().collect()
}

/// Waits until recharges are taken again, ends the load, and compares the books of the new server.
async fn is_whole(mut load: Load, began: Instant, new: &PrivateServer) {
    timeout(BOUND, load.more(20)).await.expect("recharges are taken again in time");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    let answered = load.end().await;
    let kept = orders(new).await;
    let lost: Vec<&String> = answered.difference(&kept).collect();
    assert!(lost.is_empty(), "of {} answered these are lost: {lost:?}", answered.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_several_hosts_every_answered_recharge_survives_the_death_of_the_primary() {
    let (primary, standby) = pair().await;
    let hosts = format!("{},{}", address(&primary), address(&standby));
    let service =
        service(&format!("postgres://postgres@{hosts}/postgres?target_session_attrs=read-write")).await;
    let mut load = Load::start(&service);
    load.more(50).await;
    let began = Instant::now();
    primary.kill().await;
    standby.promote().await;
    is_whole(load, began, &standby).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_one_moving_address_a_demoted_server_is_left_although_its_connections_stay() {
    let (primary, standby) = pair().await;
    let (target, entrance) = proxy(address(&primary)).await;
    let service = service(&format!("postgres://postgres@{entrance}/postgres")).await;
    let mut load = Load::start(&service);
    load.more(50).await;
    let began = Instant::now();
    set(&primary, "default_transaction_read_only = on").await;
    standby.promote().await;
    target.send_replace(address(&standby));
    is_whole(load, began, &standby).await;
}

/// One address that leads to whichever server is named now; what is connected stays connected.
async fn proxy(first: String) -> (watch::Sender<String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let entrance = listener.local_addr().expect("bound").to_string();
    let (target, leads_to) = watch::channel(first);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let to = leads_to.borrow().clone();
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(to).await {
                    // It ends when either side does.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (target, entrance)
}
