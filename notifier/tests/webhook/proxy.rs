//! Webhooks by way of the egress proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::support::certificates::Authority;
use crate::support::names::Names;
use crate::support::proxy::{Conduct, Proxy};
use crate::support::receiver::{Receiver, answer};
use crate::support::{client_with, egress, endpoint, message};
use futures_util::future::join_all;
use notifier::domain::{Exchange, FailureClass, Outcome};
use notifier::webhook::{AddressPolicy, Egress, SendWebhook, WebhookClient};
use runtime::testing::ManualClock;
use runtime::testing::log::Log;
use rustls::RootCertStore;
use tokio::net::TcpListener;

/// Names of receivers and of a proxy.
fn names() -> Arc<Names> {
    Arc::new(Names::new([
        ("shop.example", &[&["127.0.0.1"][..]][..]),
        ("public.example", &[&["1.1.1.1"]]),
        ("v6.example", &[&["2606:4700::1"]]),
        ("inside.example", &[&["10.0.0.1"]]),
        ("two.example", &[&["127.0.0.9", "127.0.0.1"]]),
        ("proxy.internal", &[&["127.0.0.1"]]),
    ]))
}

fn through(proxy: &str, egress: Egress) -> WebhookClient {
    let egress = egress.through(proxy.parse().expect("a proxy"), Vec::new());
    client_with(&ManualClock::default(), egress, names())
}

fn url_of(proxy: &Proxy) -> String {
    format!("http://{}", proxy.address)
}

async fn attempt(client: &WebhookClient, url: &str) -> Exchange {
    client.send(&endpoint(url), &message()).await
}

#[tokio::test]
async fn the_proxy_is_asked_for_the_judged_address_and_the_receiver_for_the_name() {
    let (proxy, receiver) =
        (Proxy::start(Conduct::Tunnel).await, Receiver::start(vec![answer(200, "", "")]).await);
    let port = receiver.address.port();
    let client =
        through(&format!("http://proxy.internal:{}", proxy.address.port()), egress(&["127.0.0.1/32"]));
    for _ in 0..2 {
        let exchange = attempt(&client, &format!("http://shop.example:{port}/hook")).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    }
    let asked = proxy.requests();
    assert_eq!(asked.len(), 1, "the tunnel is kept alive");
    assert_eq!(asked[0], format!("connect 127.0.0.1:{port} http/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n"));
    let requests = receiver.requests();
    assert_eq!((requests.len(), receiver.connections()), (2, 1));
    assert_eq!(requests[0].head[0], "POST /hook HTTP/1.1");
    assert_eq!(requests[0].header("host"), Some(&*format!("shop.example:{port}")));
}

#[tokio::test]
async fn tls_through_the_proxy_is_with_the_name() {
    let authority = Authority::new();
    let receiver =
        Receiver::start_tls(authority.server(&["public.example"]), vec![answer(200, "", "")]).await;
    let proxy = Proxy::start(Conduct::TunnelTo(receiver.address)).await;
    let egress = Egress::direct(AddressPolicy::default(), authority.roots());
    let client = through(&url_of(&proxy), egress);
    let exchange = attempt(&client, "https://public.example/hook").await;
    assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    assert!(proxy.requests()[0].starts_with("connect 1.1.1.1:443 http/1.1\r\n"));
    assert_eq!(receiver.server_names(), ["public.example"]);

    let exchange = attempt(&client, "https://v6.example:8443/hook").await;
    assert_eq!(
        exchange.outcome,
        Outcome::Failed(FailureClass::Tls),
        "not the certificate's name: {exchange:?}"
    );
    assert!(proxy.requests()[1].starts_with("connect [2606:4700::1]:8443 http/1.1\r\n"));
}

#[tokio::test]
async fn plain_http_reaches_the_public_where_it_is_allowed_to() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let proxy = Proxy::start(Conduct::TunnelTo(receiver.address)).await;
    let policy = AddressPolicy::default().with_plain_http(true);
    let client = through(&url_of(&proxy), Egress::direct(policy, Arc::new(RootCertStore::empty())));
    assert_eq!(attempt(&client, "http://public.example/hook").await.outcome, Outcome::Delivered);
    assert!(proxy.requests()[0].starts_with("connect 1.1.1.1:80 http/1.1\r\n"));
}

#[tokio::test]
async fn the_proxy_is_not_asked_for_what_must_not_be_reached() {
    let proxy = Proxy::start(Conduct::Tunnel).await;
    let client = through(&url_of(&proxy), egress(&[]));
    for url in ["https://inside.example/", "https://127.0.0.1/", "http://public.example/", "https://[::1]/"] {
        let exchange = attempt(&client, url).await;
        assert_eq!(exchange.outcome, Outcome::Failed(FailureClass::BlockedTarget), "{url}: {exchange:?}");
    }
    assert_eq!(proxy.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn the_proxy_learns_who_we_are_and_the_receiver_does_not() {
    let (proxy, receiver) =
        (Proxy::start(Conduct::Tunnel).await, Receiver::start(vec![answer(200, "", "")]).await);
    let client = through(&format!("http://us%40home:p%3Ass@{}/", proxy.address), egress(&["127.0.0.1/32"]));
    let exchange = attempt(&client, &receiver.url()).await;
    assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    // us@home:p:ss, in lower case like all that the proxy remembers.
    let credentials = "dxnaag9tztpwonnz";
    assert!(proxy.requests()[0].contains(&format!("\r\nproxy-authorization: basic {credentials}\r\n")));
    assert_eq!(receiver.requests()[0].header("proxy-authorization"), None);
}

#[tokio::test]
async fn a_proxy_that_fails_is_told_apart_from_a_receiver_that_does() {
    let refused = "HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nnot there";
    let cases = [
        (Conduct::Answer(refused), FailureClass::Proxy, "refused: it answered 403"),
        (Conduct::Answer("HTTP/1.1 407 Who?\r\n\r\n"), FailureClass::Proxy, "refused: it answered 407"),
        (Conduct::Answer("HTTP/1.1 302 Found\r\nlocation: http://a/\r\n\r\n"), FailureClass::Proxy, "302"),
        (Conduct::Answer("SSH-2.0-OpenSSH\r\n\r\n"), FailureClass::Proxy, "can't be used"),
        (Conduct::Answer(""), FailureClass::Proxy, "can't be used"),
        (Conduct::Answer("HTTP/1.1 20"), FailureClass::Proxy, "can't be used"),
        (Conduct::EndlessHead, FailureClass::Proxy, "can't be used"),
        (Conduct::Answer("HTTP/1.1 502 Bad\r\n\r\n"), FailureClass::Connect, "egress proxy answered 502"),
        (Conduct::Answer("HTTP/1.1 503 Down\r\n\r\n"), FailureClass::Connect, "egress proxy answered 503"),
        (Conduct::Answer("HTTP/1.1 504 Late\r\n\r\n"), FailureClass::Connect, "egress proxy answered 504"),
        (Conduct::Silence, FailureClass::Connect, "egress proxy made no connection in time"),
    ];
    join_all(cases.map(|(conduct, class, text)| async move {
        let proxy = Proxy::start(conduct.clone()).await;
        let client = through(&format!("http://us:hush@{}", proxy.address), egress(&["127.0.0.1/32"]));
        let exchange = attempt(&client, "https://shop.example/hook").await;
        assert_eq!(exchange.outcome, Outcome::Failed(class), "{conduct:?}: {exchange:?}");
        let error = exchange.error.expect("an error");
        assert!(error.contains(text) && !error.contains("hush"), "{conduct:?}: {error}");
        assert!(exchange.duration < Duration::from_secs(3), "{conduct:?}: {:?}", exchange.duration);
    }))
    .await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there_fails_as_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = listener.local_addr().expect("bound");
    drop(listener);
    for proxy in [format!("http://{nobody}"), "http://unknown.internal:3128".into()] {
        let exchange = attempt(&through(&proxy, egress(&["127.0.0.1/32"])), "https://shop.example/").await;
        assert_eq!(exchange.outcome, Outcome::Failed(FailureClass::Proxy), "{proxy}: {exchange:?}");
        assert!(exchange.error.expect("an error").contains("egress proxy"));
    }
}

#[tokio::test]
async fn the_next_address_is_asked_for_when_the_proxy_does_not_reach_the_first() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let port = receiver.address.port();
    let first = SocketAddr::from(([127, 0, 0, 9], port));
    let proxy = Proxy::start(Conduct::AnswerFor(first, "HTTP/1.1 502 Bad Gateway\r\n\r\n")).await;
    let client = through(&url_of(&proxy), egress(&["127.0.0.0/8"]));
    let exchange = attempt(&client, &format!("http://two.example:{port}/")).await;
    assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    assert_eq!(proxy.requests().len(), 2);
}

#[tokio::test]
async fn networks_of_the_bypass_are_reached_without_the_proxy() {
    let (proxy, receiver) =
        (Proxy::start(Conduct::Tunnel).await, Receiver::start(vec![answer(200, "", "")]).await);
    let bypass = vec!["::ffff:127.0.0.1/128".parse().expect("a network")];
    let egress = egress(&["127.0.0.0/8"]).through(url_of(&proxy).parse().expect("a proxy"), bypass);
    let client = client_with(&ManualClock::default(), egress, names());
    assert_eq!(attempt(&client, &receiver.url()).await.outcome, Outcome::Delivered);
    assert_eq!(proxy.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn whoever_operates_the_notifier_hears_of_a_failing_proxy_once_and_of_its_recovery() {
    let proxy = Proxy::start(Conduct::Answer("")).await;
    let client = through(&format!("http://us:hush@{}", proxy.address), egress(&["127.0.0.1/32"]));
    let (log, _guard) = Log::start();
    let logged_by_two_attempts = async || {
        for _ in 0..2 {
            attempt(&client, "https://shop.example/").await;
        }
        let lines = log.take();
        assert!(!lines.concat().contains("hush"), "{lines:?}");
        let events = lines.iter().filter(|line| line.contains("egress_proxy."));
        events.map(|line| if line.contains("failed") { "failed" } else { "recovered" }).collect::<Vec<_>>()
    };
    assert_eq!(logged_by_two_attempts().await, ["failed"]);
    assert_eq!(logged_by_two_attempts().await, [""; 0]);
    proxy.now(Conduct::Answer("HTTP/1.1 502 Bad Gateway\r\n\r\n"));
    assert_eq!(logged_by_two_attempts().await, ["recovered"], "it works; the receiver does not");
    proxy.now(Conduct::Answer(""));
    assert_eq!(logged_by_two_attempts().await, ["failed"]);
}
