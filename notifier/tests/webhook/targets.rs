//! Where webhooks go and where they don't, decided at the address that is connected to.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::support::names::Names;
use crate::support::receiver::{Act, Receiver, answer};
use crate::support::{client_with, egress, endpoint, message};
use futures_util::future::join_all;
use notifier::domain::{Exchange, FailureClass, Outcome};
use notifier::webhook::{SendWebhook, SystemLookup, WebhookClient};
use runtime::testing::ManualClock;

/// Ways to write "this machine", and what each is refused as.
const LOOPBACK: [(&str, &str); 36] = [
    ("127.0.0.1", "a loopback"),
    ("127.255.255.254", "a loopback"),
    ("127.0.0.1.", "a loopback"),
    ("127.1", "a loopback"),
    ("127.0.1", "a loopback"),
    ("2130706433", "a loopback"),
    ("017700000001", "a loopback"),
    ("0177.0.0.1", "a loopback"),
    ("0177.0x0.0.01", "a loopback"),
    ("0x7f000001", "a loopback"),
    ("0x7F.0.0.1", "a loopback"),
    ("0X7F.1", "a loopback"),
    ("%31%32%37.0.0.1", "a loopback"),
    ("127%2e0%2E0.1", "a loopback"),
    ("１２７.0.0.1", "a loopback"),
    ("①②⑦.0.0.1", "a loopback"),
    ("127。0。0。1", "a loopback"),
    ("@127.0.0.1", "a loopback"),
    ("0", "an unspecified"),
    ("0.0.0.0", "an unspecified"),
    ("0x0", "an unspecified"),
    ("[::]", "an unspecified"),
    ("[::1]", "a loopback"),
    ("[0:0:0:0:0:0:0:1]", "a loopback"),
    ("[0000::0001]", "a loopback"),
    ("[::ffff:127.0.0.1]", "an IPv4-in-IPv6"),
    ("[::ffff:7f00:1]", "an IPv4-in-IPv6"),
    ("[::127.0.0.1]", "an IPv4-in-IPv6"),
    ("[::ffff:0:127.0.0.1]", "an IPv4-in-IPv6"),
    ("[64:ff9b::127.0.0.1]", "an IPv4-in-IPv6"),
    ("[64:ff9b:1::7f00:1]", "an IPv4-in-IPv6"),
    ("[2002:7f00:1::1]", "an IPv4-in-IPv6"),
    ("[2001:0:7f00:1::1]", "an IPv4-in-IPv6"),
    ("localhost", "a loopback"),
    ("LocalHost.", "a loopback"),
    ("shop.localhost", "a loopback"),
];

/// Ways to write machines that only the notifier reaches.
const INSIDE: [(&str, &str); 31] = [
    ("10.0.0.1", "a private"),
    ("0x0a000001", "a private"),
    ("012.1", "a private"),
    ("167772161", "a private"),
    ("172.16.0.1", "a private"),
    ("172.31.255.255", "a private"),
    ("192.168.1.1", "a private"),
    ("3232235777", "a private"),
    ("0300.0250.1.1", "a private"),
    ("[fc00::1]", "a private"),
    ("[fd12:3456:789a::1]", "a private"),
    ("[::ffff:10.0.0.1]", "an IPv4-in-IPv6"),
    ("[64:ff9b::10.0.0.1]", "an IPv4-in-IPv6"),
    ("[2002:a00:1::]", "an IPv4-in-IPv6"),
    ("100.64.0.1", "a shared"),
    ("169.254.0.1", "a link-local"),
    ("[fe80::1]", "a link-local"),
    ("[febf::1]", "a link-local"),
    ("169.254.169.254", "a link-local"),
    ("2852039166", "a link-local"),
    ("0xa9fea9fe", "a link-local"),
    ("0251.0376.0251.0376", "a link-local"),
    ("[::ffff:169.254.169.254]", "an IPv4-in-IPv6"),
    ("[fd00:ec2::254]", "a private"),
    ("100.100.100.200", "a shared"),
    ("168.63.129.16", "a cloud metadata"),
    ("192.0.0.192", "a reserved"),
    ("224.0.0.1", "a multicast"),
    ("[ff02::1]", "a multicast"),
    ("255.255.255.255", "a broadcast"),
    ("240.0.0.1", "a reserved"),
];

fn loopback_client(allowed: &[&str], names: Arc<Names>) -> WebhookClient {
    client_with(&ManualClock::default(), egress(allowed), names)
}

async fn attempt(client: &WebhookClient, url: &str) -> Exchange {
    client.send(&endpoint(url), &message()).await
}

fn assert_blocked(exchange: &Exchange, kind: &str, url: &str) {
    assert_eq!(exchange.outcome, Outcome::Failed(FailureClass::BlockedTarget), "{url}: {exchange:?}");
    let error = exchange.error.as_deref().expect("an error");
    assert!(error.starts_with(&format!("the target is {kind}")), "{url}: {error}");
}

#[tokio::test]
async fn no_spelling_of_an_address_leads_inside() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let port = receiver.address.port();
    let client = client_with(&ManualClock::default(), egress(&[]), Arc::new(SystemLookup::default()));
    let spellings = LOOPBACK.iter().chain(&INSIDE);
    join_all(spellings.flat_map(|spelling| [("http", spelling), ("https", spelling)]).map(
        |(scheme, (host, kind))| {
            let (client, url) = (&client, format!("{scheme}://{host}:{port}/"));
            async move { assert_blocked(&attempt(client, &url).await, kind, &url) }
        },
    ))
    .await;
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn no_name_leads_inside() {
    let names = Names::new([
        ("metadata.google.internal", &[&["169.254.169.254"][..]][..]),
        ("inside.example", &[&["10.0.0.1", "192.168.0.1"]]),
        ("inside.example.", &[&["127.0.0.1"]]),
        ("mapped.example", &[&["::ffff:10.0.0.1", "64:ff9b::a00:1"]]),
        ("xn--bcher-kva.example", &[&["::1"]]),
    ]);
    let client = loopback_client(&[], Arc::new(names));
    for (host, kind) in [
        ("metadata.google.internal", "a link-local"),
        ("INSIDE.example", "a private"),
        ("inside.example.", "a loopback"),
        ("mapped.example", "an IPv4-in-IPv6"),
        ("bücher.example", "a loopback"),
    ] {
        let url = format!("https://{host}/hook");
        assert_blocked(&attempt(&client, &url).await, kind, &url);
    }
}

#[tokio::test]
async fn plain_http_goes_to_listed_networks_alone_and_the_error_says_what_to_do() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let names = Names::new([("shop.example", &[&["1.1.1.1", "2606:4700::1"][..]][..])]);
    let client = loopback_client(&["127.0.0.0/8"], Arc::new(names));
    for url in ["http://shop.example/", "http://1.1.1.1/", "http://[2606:4700::1]:8080/"] {
        let exchange = attempt(&client, url).await;
        assert_eq!(exchange.outcome, Outcome::Failed(FailureClass::BlockedTarget), "{url}");
        let error = exchange.error.expect("an error");
        assert!(error.contains("https://") && error.contains("ALLOW_HTTP_TARGETS"), "{error}");
    }
    assert_eq!(attempt(&client, &receiver.url()).await.outcome, Outcome::Delivered);
}

/// Two receivers on two addresses of this machine, and one port.
async fn neighbours() -> (Receiver, Receiver) {
    loop {
        let allowed = Receiver::start(vec![answer(200, "", "")]).await;
        let other = SocketAddr::from(([127, 0, 0, 2], allowed.address.port()));
        if let Ok(forbidden) = Receiver::bind(other, vec![answer(200, "", "")]).await {
            return (allowed, forbidden);
        }
    }
}

#[tokio::test]
async fn of_a_name_with_several_addresses_the_blocked_ones_are_passed_over() {
    let (allowed, forbidden) = neighbours().await;
    let names = Names::new([("shop.example", &[&["127.0.0.2", "127.0.0.1", "10.0.0.1"][..]][..])]);
    let client = loopback_client(&["127.0.0.1/32"], Arc::new(names));
    let url = format!("http://shop.example:{}/", allowed.address.port());
    assert_eq!(attempt(&client, &url).await.outcome, Outcome::Delivered);
    assert_eq!((allowed.connections(), forbidden.connections()), (1, 0));
}

#[tokio::test]
async fn a_name_is_looked_up_once_for_a_connection_and_only_that_answer_is_connected_to() {
    let (allowed, forbidden) = neighbours().await;
    let names = Arc::new(Names::new([("shop.example", &[&["127.0.0.1"][..], &["127.0.0.2"]][..])]));
    let client = loopback_client(&["127.0.0.1/32"], names.clone());
    let url = format!("http://shop.example:{}/", allowed.address.port());
    assert_eq!(attempt(&client, &url).await.outcome, Outcome::Delivered);
    assert_eq!(names.lookups("shop.example"), 1);
    assert_eq!((allowed.connections(), forbidden.connections()), (1, 0));
}

#[tokio::test]
async fn a_name_that_comes_to_point_inside_is_refused_at_the_next_attempt() {
    let (allowed, forbidden) = neighbours().await;
    allowed.now(vec![Act::WriteAndClose(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".into())]);
    let names = Names::new([("shop.example", &[&["127.0.0.1"][..], &["127.0.0.2"], &["127.0.0.1"]][..])]);
    let client = loopback_client(&["127.0.0.1/32"], Arc::new(names));
    let url = format!("http://shop.example:{}/", allowed.address.port());
    assert_eq!(attempt(&client, &url).await.outcome, Outcome::Delivered);
    assert_blocked(&attempt(&client, &url).await, "a loopback", &url);
    assert_eq!(attempt(&client, &url).await.outcome, Outcome::Delivered, "it points outside again");
    assert_eq!((allowed.connections(), forbidden.connections()), (2, 0));
}

#[tokio::test]
async fn a_kept_alive_connection_leads_where_it_was_judged_to_lead_and_its_successor_is_judged_anew() {
    let (allowed, forbidden) = neighbours().await;
    let last = Act::WriteAndClose(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".into());
    allowed.now(vec![answer(200, "", ""), last]);
    let names = Arc::new(Names::new([("shop.example", &[&["127.0.0.1"][..], &["127.0.0.2"]][..])]));
    let client = loopback_client(&["127.0.0.1/32"], names.clone());
    let url = format!("http://shop.example:{}/", allowed.address.port());
    for _ in 0..2 {
        assert_eq!(attempt(&client, &url).await.outcome, Outcome::Delivered);
    }
    assert_eq!((names.lookups("shop.example"), allowed.connections()), (1, 1), "kept alive");
    assert_blocked(&attempt(&client, &url).await, "a loopback", &url);
    assert_eq!((allowed.connections(), forbidden.connections()), (1, 0));
}

#[tokio::test]
async fn listed_networks_are_reached_in_whatever_family_and_form_they_are_listed() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let port = receiver.address.port();
    let delivered = Outcome::Delivered;
    let blocked = Outcome::Failed(FailureClass::BlockedTarget);
    for (listed, host, expected) in [
        ("127.0.0.1/32", "127.0.0.1", delivered),
        ("127.0.0.1/32", "2130706433", delivered),
        ("127.0.0.1/32", "[::ffff:127.0.0.1]", delivered),
        ("::ffff:127.0.0.0/104", "127.0.0.1", delivered),
        ("::ffff:127.0.0.1/128", "[::ffff:7f00:1]", delivered),
        ("127.0.0.2/32", "127.0.0.1", blocked),
        ("::1/128", "127.0.0.1", blocked),
        ("::/0", "[::ffff:127.0.0.1]", blocked),
        ("10.0.0.0/8", "localhost", blocked),
    ] {
        let client =
            client_with(&ManualClock::default(), egress(&[listed]), Arc::new(SystemLookup::default()));
        let exchange = attempt(&client, &format!("http://{host}:{port}/")).await;
        assert_eq!(exchange.outcome, expected, "{host} with {listed} listed: {exchange:?}");
    }
}
