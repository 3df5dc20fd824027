//! Webhooks over TLS: who is trusted, and every way in which a handshake can fail.

use std::sync::Arc;
use std::time::Duration;

use crate::support::certificates::{Authority, self_signed_server};
use crate::support::names::Names;
use crate::support::raw::{Raw, read_request};
use crate::support::receiver::{Receiver, answer};
use crate::support::{client_with, endpoint, message};
use futures_util::future::join_all;
use notifier::domain::{Exchange, FailureClass, Outcome};
use notifier::webhook::{AddressPolicy, Egress, SendWebhook, WebhookClient};
use runtime::testing::ManualClock;
use rustls::RootCertStore;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use FailureClass::{Body, Protocol, Tls};

/// A client that trusts these authorities and finds every receiver on this machine.
fn trusting(roots: Arc<RootCertStore>) -> WebhookClient {
    let here = &[&["127.0.0.1"][..]][..];
    let names = Names::new(["shop.example", "shop.example.", "bank.example"].map(|name| (name, here)));
    let policy = AddressPolicy::allowing(vec!["127.0.0.1/32".parse().expect("a network")]);
    client_with(&ManualClock::default(), Egress::direct(policy, roots), Arc::new(names))
}

async fn attempt(client: &WebhookClient, host: &str, port: u16) -> Exchange {
    client.send(&endpoint(&format!("https://{host}:{port}/hook")), &message()).await
}

async fn serving(tls: TlsAcceptor) -> Receiver {
    Receiver::start_tls(tls, vec![answer(200, "", "ok")]).await
}

fn assert_failed(exchange: &Exchange, class: FailureClass, reason: &str, case: &str) {
    assert_eq!(exchange.outcome, Outcome::Failed(class), "{case}: {exchange:?}");
    let error = exchange.error.as_deref().unwrap_or_default();
    assert!(error.contains(reason), "{case}: {error}");
}

#[tokio::test]
async fn a_receiver_is_trusted_by_the_name_that_the_url_says() {
    let authority = Authority::new();
    let receiver = serving(authority.server(&["shop.example", "127.0.0.1"])).await;
    let client = trusting(authority.roots());
    for host in ["shop.example", "shop.example.", "SHOP.example", "127.0.0.1", "2130706433"] {
        let exchange = attempt(&client, host, receiver.address.port()).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{host}: {exchange:?}");
    }
    let by_name = receiver.server_names();
    assert!(by_name.iter().all(|name| ["shop.example", ""].contains(&name.as_str())), "{by_name:?}");
}

#[tokio::test]
async fn a_certificate_that_does_not_vouch_for_the_receiver_fails_the_handshake() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let client = trusting(authority.roots());
    for (case, server, reason) in [
        ("another name", authority.server(&["bank.example"]), "not valid for"),
        ("no wildcard of the parent", authority.server(&["*.shop.example"]), "not valid for"),
        ("over", authority.expired_server(&["shop.example"]), "expired"),
        ("self-signed", self_signed_server(&["shop.example"]), "invalid peer certificate"),
        ("of an unknown authority", stranger.server(&["shop.example"]), "invalid peer certificate"),
    ] {
        let receiver = serving(server).await;
        let exchange = attempt(&client, "shop.example", receiver.address.port()).await;
        assert_failed(&exchange, Tls, reason, case);
        assert_eq!(receiver.requests().len(), 0, "{case}: nothing was sent");
    }
    let receiver = serving(authority.server(&["shop.example"])).await;
    let exchange =
        attempt(&trusting(Arc::new(RootCertStore::empty())), "shop.example", receiver.address.port()).await;
    assert_failed(&exchange, Tls, "UnknownIssuer", "nobody is trusted");
}

#[tokio::test]
async fn a_receiver_that_wants_a_certificate_of_ours_refuses_as_tls() {
    let authority = Authority::new();
    let receiver = serving(authority.server_of_known_clients(&["shop.example"])).await;
    let exchange = attempt(&trusting(authority.roots()), "shop.example", receiver.address.port()).await;
    assert_failed(&exchange, Tls, "CertificateRequired", "client certificates");
}

#[tokio::test]
async fn what_speaks_no_tls_fails_the_handshake() {
    let client = trusting(Arc::new(RootCertStore::empty()));
    let cases: [(&[u8], &str); 5] = [
        (b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", "the TLS handshake failed"),
        (b"220 mail.example ESMTP\r\n", "the TLS handshake failed"),
        (&[0xFF; 8192], "the TLS handshake failed"),
        (b"\x15\x03\x03\0\x02\x02\x28", "HandshakeFailure"),
        (b"", "the TLS handshake failed"),
    ];
    for (bytes, reason) in cases {
        let case = String::from_utf8_lossy(bytes);
        let receiver = Raw::start(move |mut peer, _| async move { peer.write(bytes).await }).await;
        assert_failed(&attempt(&client, "shop.example", receiver.address.port()).await, Tls, reason, &case);
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_off_in_time() {
    let silent = Raw::start(|mut peer, _| async move { peer.hold().await }).await;
    let endless = Raw::start(|mut peer, _| async move {
        // Handshake messages, empty ones.
        peer.write_for_ever(b"\x16\x03\x03\0\x04\0\0\0\0", Duration::from_millis(10)).await
    })
    .await;
    let client = trusting(Arc::new(RootCertStore::empty()));
    join_all([(&silent, "did not end in time"), (&endless, "TLS")].map(async |(receiver, reason)| {
        let exchange = attempt(&client, "shop.example", receiver.address.port()).await;
        assert_failed(&exchange, Tls, reason, "a handshake without an end");
        assert!(exchange.duration < Duration::from_secs(3), "{exchange:?}");
    }))
    .await;
}

#[tokio::test]
async fn plain_http_to_a_receiver_of_tls_is_no_http() {
    let receiver = serving(self_signed_server(&["shop.example"])).await;
    let client = trusting(Arc::new(RootCertStore::empty()));
    let url = format!("http://shop.example:{}/", receiver.address.port());
    let exchange = client.send(&endpoint(&url), &message()).await;
    assert_failed(&exchange, Protocol, "no HTTP answer", "http on a TLS port");
}

/// Without this anybody on the way could cut an answer short and have it taken for whole.
#[tokio::test]
async fn a_body_that_ends_without_the_end_of_tls_has_broken_off() {
    let authority = Authority::new();
    let tls = authority.server(&["shop.example"]);
    let receiver = Raw::start(move |peer, before| {
        let tls = tls.clone();
        async move {
            let mut stream = tls.accept(peer.stream).await?;
            read_request(&mut stream).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").await?;
            stream.flush().await?;
            if before == 0 { Ok(()) } else { stream.shutdown().await }
        }
    })
    .await;
    let client = trusting(authority.roots());
    let cut = attempt(&client, "shop.example", receiver.address.port()).await;
    assert_failed(&cut, Body, "broke off", "without close_notify");
    let whole = attempt(&client, "shop.example", receiver.address.port()).await;
    assert_eq!(whole.outcome, Outcome::Delivered, "{whole:?}");
}
