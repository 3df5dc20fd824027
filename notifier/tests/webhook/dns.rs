//! Looking names up at a real name server.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::support::name_server::{NameServer, Reply};
use futures_util::future::join_all;
use hickory_resolver::proto::op::ResponseCode;
use notifier::webhook::Lookup;
use tokio::time::{Instant, timeout};

const LONG: Duration = Duration::from_secs(20);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[tokio::test]
async fn a_name_is_looked_up_in_both_families_and_ipv4_comes_first() {
    let both = vec![ip("2606:4700::1"), ip("1.1.1.1"), ip("1.0.0.1")];
    let server =
        NameServer::start([("both", Reply::Addresses(both)), ("v6", Reply::Addresses(vec![ip("::1")]))])
            .await;
    let lookup = server.lookup(LONG);
    let mut found = lookup.lookup("a.both.test").await.expect("found");
    found[..2].sort();
    assert_eq!(found, [ip("1.0.0.1"), ip("1.1.1.1"), ip("2606:4700::1")]);
    assert_eq!(lookup.lookup("a.v6.test").await.expect("found"), [ip("::1")]);
}

#[tokio::test]
async fn an_answer_is_remembered_for_a_while() {
    let both = vec![ip("1.1.1.1"), ip("2606:4700::1")];
    let server = NameServer::start([("live", Reply::Addresses(both.clone()))]).await;
    let lookup = server.lookup(LONG);
    for _ in 0..5 {
        assert_eq!(lookup.lookup("a.live.test").await.expect("found"), both);
    }
    assert_eq!(server.asked_for("a.live.test"), 2, "once for each family");
}

#[tokio::test]
async fn a_name_server_that_swallows_questions_for_ipv6_does_not_hold_ipv4_back() {
    let server = NameServer::start([("half", Reply::OnlyV4(ip("1.1.1.1")))]).await;
    let found = timeout(Duration::from_secs(5), server.lookup(LONG).lookup("a.half.test")).await;
    assert_eq!(found.expect("at once").expect("found"), [ip("1.1.1.1")]);
}

#[tokio::test]
async fn why_a_name_has_no_address_is_told_without_telling_who_was_asked() {
    let server = NameServer::start([
        ("empty", Reply::Addresses(Vec::new())),
        ("broken", Reply::Code(ResponseCode::ServFail)),
        ("dead", Reply::Silence),
    ])
    .await;
    let lookup = server.lookup(Duration::from_millis(100));
    for (name, reason) in [
        ("a.unknown.test", "there is no such name"),
        ("a.empty.test", "the name has no address"),
        ("a.broken.test", "the name servers answered: Server Failure"),
        ("a.dead.test", "the name servers do not answer"),
        ("a.invalid", "there is no such name"),
        (&"a".repeat(64), "it is no name that can be looked up"),
    ] {
        let error = lookup.lookup(name).await.expect_err(name);
        assert_eq!(error.to_string(), reason, "{name}");
    }
    assert_eq!(server.asked_for("a.invalid"), 0, "nobody is asked for it (RFC 6761)");
}

/// Law 7: with a thread for each look-up, half as many would be the end of all others.
#[tokio::test]
async fn a_thousand_look_ups_that_hang_do_not_hold_others_back() {
    let server =
        NameServer::start([("dead", Reply::Silence), ("live", Reply::Addresses(vec![ip("1.1.1.1")]))]).await;
    let lookup = Arc::new(server.lookup(LONG));
    let mut hanging = Vec::new();
    // In waves, since the server's socket takes only so many questions at once.
    for wave in 1..=20 {
        for n in 0..50 {
            let (lookup, name) = (lookup.clone(), format!("n{wave}-{n}.dead.test"));
            hanging.push(tokio::spawn(async move { lookup.lookup(&name).await }));
        }
        server.wait_for_names(wave * 50).await;
    }

    let began = Instant::now();
    let names: Vec<String> = (0..50).map(|n| format!("n{n}.live.test")).collect();
    for found in join_all(names.iter().map(|name| lookup.lookup(name))).await {
        assert_eq!(found.expect("found"), [ip("1.1.1.1")]);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(hanging.iter().all(|task| !task.is_finished()), "they still hang");
    for task in hanging {
        task.abort();
    }
}

#[tokio::test]
async fn a_name_that_comes_to_life_is_found() {
    let server = NameServer::start([("late", Reply::Code(ResponseCode::ServFail))]).await;
    let lookup = server.lookup(LONG);
    lookup.lookup("a.late.test").await.expect_err("not yet");
    server.answer("late", Reply::Addresses(vec![ip("1.1.1.1")]));
    assert_eq!(lookup.lookup("a.late.test").await.expect("found"), [ip("1.1.1.1")]);
}
