//! Connections that are used again, and what becomes of a request that meets one that is closed.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver as Heard, Sender as Tell, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::raw::Raw;
use crate::support::receiver::{Act, Receiver};
use crate::support::{client, client_with, egress, endpoint, message};
use async_trait::async_trait;
use notifier::domain::{Exchange, FailureClass, Outcome};
use notifier::webhook::{Lookup, SendWebhook, WebhookClient};
use runtime::testing::ManualClock;
use tokio::sync::{Semaphore, oneshot};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn loopback() -> WebhookClient {
    client(&ManualClock::default())
}

async fn attempt(client: &WebhookClient, address: SocketAddr) -> Exchange {
    client.send(&endpoint(&format!("http://{address}/")), &message()).await
}

/// A receiver on a thread of its own, so that it acts while the client's tasks stand still: answers
/// one request on each of two connections, and closes the first when it is told to.
fn blocking_receiver() -> (SocketAddr, Tell<()>, Heard<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (close, told) = channel();
    let (tell, closed) = channel();
    std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 8192];
            let _ = stream.read(&mut request).expect("a request");
            stream.write_all(OK.as_bytes()).expect("it is read");
            if told.recv().is_err() {
                return;
            }
            drop(stream);
            tell.send(()).expect("the test waits for it");
        }
    });
    (address, close, closed)
}

/// Nothing was sent, so nothing was tried: it is no attempt of its own.
#[tokio::test]
async fn a_request_that_meets_a_closed_connection_goes_out_on_a_fresh_one_at_once() {
    let (address, close, closed) = blocking_receiver();
    let client = loopback();
    assert_eq!(attempt(&client, address).await.outcome, Outcome::Delivered);
    close.send(()).expect("it listens");
    // Blocks this thread, the only one of the runtime; then the runtime learns of the end, and runs
    // this task before the connection's, which so finds the request and the end together.
    closed.recv().expect("it closes");
    tokio::task::yield_now().await;
    let exchange = attempt(&client, address).await;
    assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
}

#[tokio::test]
async fn connections_that_were_closed_while_idle_are_replaced() {
    let receiver = Raw::start(|mut peer, _| async move { peer.answer(OK).await }).await;
    let client = loopback();
    for attempts in 1..=5 {
        let exchange = attempt(&client, receiver.address).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
        assert_eq!(receiver.connections(), attempts);
    }
}

/// A receiver that moves is found at its new address, though its connections never fall idle.
#[tokio::test]
async fn under_steady_traffic_a_connection_is_replaced_between_two_requests_before_it_is_too_old() {
    let receiver = Raw::start(|mut peer, _| async move {
        loop {
            peer.answer(OK).await?;
        }
    })
    .await;
    // It is idle for 4 s at most, so it is replaced 4 s before its greatest age.
    let client = loopback().with_max_age(Duration::from_millis(4_200));
    let mut requests = 0;
    let replaced_twice = async {
        while receiver.connections() < 3 {
            let exchange = attempt(&client, receiver.address).await;
            assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
            requests += 1;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), replaced_twice).await.expect("it is replaced");
    assert!(requests > 3, "connections were kept alive for {requests} requests");
}

/// It may have been acted upon: whether to send it again is the ladder's business.
#[tokio::test]
async fn a_request_that_was_sent_is_not_sent_again_in_the_same_attempt() {
    let receiver = Raw::start(|mut peer, _| async move {
        peer.answer(OK).await?;
        peer.request().await
    })
    .await;
    let client = loopback();
    assert_eq!(attempt(&client, receiver.address).await.outcome, Outcome::Delivered);
    let exchange = attempt(&client, receiver.address).await;
    assert_eq!(exchange.outcome, Outcome::Failed(FailureClass::Protocol), "{exchange:?}");
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn what_a_receiver_says_unasked_is_no_answer_to_the_next_request() {
    for unasked in ["HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 408 Too slow\r\n\r\n", "ok"] {
        let receiver = Raw::start(move |mut peer, _| async move {
            peer.answer(OK).await?;
            peer.write(unasked).await?;
            peer.hold().await
        })
        .await;
        let client = loopback();
        for attempts in 1..=3 {
            let exchange = attempt(&client, receiver.address).await;
            assert_eq!(exchange.outcome, Outcome::Delivered, "{unasked}: {exchange:?}");
            assert_eq!(receiver.connections(), attempts, "{unasked}");
            // Idle for a moment: a receiver that speaks up between two requests.
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_broke_off_an_answer_is_not_used_again() {
    let receiver = Raw::start(|mut peer, _| async move {
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await?;
        peer.write(vec![b'x'; 999_999]).await?;
        peer.hold().await
    })
    .await;
    let client = loopback();
    for attempts in 1..=3 {
        assert_eq!(attempt(&client, receiver.address).await.outcome, Outcome::Delivered);
        assert_eq!(receiver.connections(), attempts);
    }
}

/// Finds this machine at once, the first time; afterwards never, and tells when it is given up.
struct OnceQuick {
    lookups: AtomicUsize,
    given_up: Mutex<Option<oneshot::Sender<()>>>,
}

#[async_trait]
impl Lookup for OnceQuick {
    async fn lookup(&self, _name: &str) -> std::io::Result<Vec<IpAddr>> {
        if self.lookups.fetch_add(1, Ordering::SeqCst) == 0 {
            return Ok(vec![[127, 0, 0, 1].into()]);
        }
        // Dropped with this look-up, which is how the other end hears of it.
        let _held = self.given_up.lock().expect("unpoisoned").take();
        std::future::pending().await
    }
}

/// An attempt takes whichever connection is there first, a new one or one that has become free. What was
/// begun and is no longer needed must end too.
#[tokio::test]
async fn a_connection_that_nobody_waits_for_any_more_is_given_up_in_time() {
    let hold = Arc::new(Semaphore::new(0));
    let receiver = Receiver::start(vec![Act::Hold(hold.clone())]).await;
    let (given_up, heard) = oneshot::channel();
    let lookup = OnceQuick { lookups: AtomicUsize::default(), given_up: Mutex::new(Some(given_up)) };
    let lookup = Arc::new(lookup);
    let client = Arc::new(client_with(&ManualClock::default(), egress(&["127.0.0.1/32"]), lookup.clone()));
    let start = || {
        let (client, address) = (client.clone(), format!("http://shop.example:{}/", receiver.address.port()));
        tokio::spawn(async move { client.send(&endpoint(&address), &message()).await })
    };
    let first = start();
    receiver.wait_for(1).await;
    let second = start();
    while lookup.lookups.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    hold.add_permits(2);
    for attempt in [first, second] {
        let exchange = attempt.await.expect("it ends");
        assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    }
    assert_eq!(receiver.connections(), 1, "the second attempt took the first one's connection");
    let ended = tokio::time::timeout(Duration::from_secs(10), heard).await;
    ended.expect("within the attempt's time").expect_err("dropped, not told");
}
