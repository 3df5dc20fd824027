//! `KEYS_FILE` while the service runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pay_service::Parts;
use reqwest::Client;
use runtime::keys::{KeyHash, Keyring};
use runtime::trace::Spans;
use runtime::{Secret, Shutdown, Sources};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::backend::Backend;
use crate::support::broker::TestBroker;
use crate::support::harness::{OPERATOR, SHOP, new_order};

/// A service on a port, its operator's key configured, the merchants' in a file.
struct Running {
    address: SocketAddr,
    file: PathBuf,
    shutdown: Shutdown,
    service: JoinHandle<anyhow::Result<()>>,
    _backend: Backend,
    _folder: tempfile::TempDir,
}

fn merchant(name: &str, key: &str) -> String {
    format!("[[merchant]]\nname = \"{name}\"\nkey_sha256 = [\"{}\"]\n", KeyHash::of(key))
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("keys.toml");
        std::fs::write(&file, merchant("shop", SHOP)).expect("written");
        let (sources, backend) = (Sources::system(), Backend::fresh().await);
        let keyring = Keyring::new(Some(&Secret::new(OPERATOR)), &"".parse().expect("no merchants"));
        let parts = Parts {
            keyring: keyring.with_file(&file, false, sources.clock.clone()).expect("well-formed"),
            store: backend.store.clone(),
            broker: Arc::new(TestBroker::default()),
            sources,
            sandbox_secret: None,
            spans: Spans::off(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        let service = tokio::spawn(pay_service::run(listener, parts, shutdown.clone()));
        Self { address, file, shutdown, service, _backend: backend, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).expect("written");
    }

    /// A merchant that orders and reads, over one connection, until `stop`; how often it was served.
    fn busy(&self, name: String, stop: Shutdown) -> JoinHandle<u32> {
        let (client, url) = (client(), self.url("/v1/recharges"));
        tokio::spawn(async move {
            let mut served = 0;
            while !stop.is_stopping() {
                let order = new_order(&format!("{name}-{served}"), &json!({}));
                let created = client.post(&url).bearer_auth(SHOP).json(&order).send().await;
                assert_eq!(created.expect("answered").status(), 201);
                assert_eq!(status(&client, &format!("{url}?limit=1"), SHOP).await, 200);
                served += 1;
            }
            served
        })
    }

    async fn end(self) {
        self.shutdown.stop_softly();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.service).await;
        ended.expect("it ends").expect("no panic").expect("no error");
    }
}

/// One connection.
fn client() -> Client {
    Client::builder().no_proxy().pool_max_idle_per_host(1).build().expect("a client")
}

async fn status(client: &Client, url: &str, key: &str) -> u16 {
    let answer = client.get(url).bearer_auth(key).send().await.expect("answered");
    let status = answer.status().as_u16();
    answer.bytes().await.expect("a whole body");
    status
}

/// Asks until `check` holds for the answer of `/readyz`.
async fn until_ready(client: &Client, url: &str, check: impl Fn(&Value) -> bool) {
    let asked = async {
        loop {
            let answer = client.get(url).send().await.expect("answered");
            assert_eq!(answer.status(), 200);
            if check(&answer.json().await.expect("JSON")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchant_is_added_and_removed_under_load_and_no_request_of_others_fails() {
    let running = Running::start().await;
    let stop = Shutdown::new();
    let others: Vec<_> = (0..4).map(|number| running.busy(format!("shop-{number}"), stop.clone())).collect();
    let (kiosk, url) = (client(), running.url("/v1/recharges"));
    let until = async |expected: u16| {
        while status(&kiosk, &url, "kiosk-key").await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    for _ in 0..3 {
        running.write(&(merchant("shop", SHOP) + &merchant("kiosk", "kiosk-key")));
        tokio::time::timeout(Duration::from_secs(20), until(200)).await.expect("added in time");
        running.write(&merchant("shop", SHOP));
        tokio::time::timeout(Duration::from_secs(20), until(401)).await.expect("removed in time");
        for _ in 0..20 {
            assert_eq!(
                status(&kiosk, &url, "kiosk-key").await,
                401,
                "refused for good, also on this connection"
            );
        }
    }
    stop.stop_softly();
    for other in others {
        assert!(other.await.expect("each of its requests is served") > 0);
    }
    running.end().await;
}

#[tokio::test]
async fn a_broken_keys_file_refuses_no_one_and_is_named_until_it_is_repaired() {
    let running = Running::start().await;
    let (client, readyz) = (client(), running.url("/readyz"));
    let metric = async |value: u8| {
        let answer = client.get(running.url("/metrics")).send().await.expect("answered");
        let text = answer.text().await.expect("text");
        assert!(text.contains(&format!("\nringback_keys_file_refused {value}\n")), "{text}");
        assert!(text.contains("ringback_keys{role=\"merchant\"} 1"), "{text}");
    };
    until_ready(&client, &readyz, |answer| answer["status"] == "ready" && answer["checks"]["keys"] == "ok")
        .await;
    metric(0).await;
    running.write("[[merchant]]\nname = \"shop\"\nkey_sha256 = [\"not a hash\"]\n");
    let is_degraded = |answer: &Value| {
        answer["status"] == "degraded"
            && answer["checks"]["keys"].as_str().is_some_and(|text| text.contains("line 3"))
    };
    until_ready(&client, &readyz, is_degraded).await;
    metric(1).await;
    assert_eq!(status(&client, &running.url("/v1/recharges"), SHOP).await, 200);
    assert_eq!(status(&client, &running.url("/readyz?strict=true"), "").await, 503);
    running.write(&merchant("shop", SHOP));
    until_ready(&client, &readyz, |answer| answer["status"] == "ready").await;
    metric(0).await;
    running.end().await;
}
