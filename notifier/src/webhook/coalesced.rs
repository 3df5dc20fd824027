//! One look-up per name at a time.
//!
//! A look-up that hangs holds a thread until the operating system gives up, longer than an attempt
//! may take. Sharing it keeps a subscriber whose name servers are dead from using up the threads
//! that everybody's look-ups run on (law 7).

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::resolver::Lookup;

type Answer = Option<Result<Vec<IpAddr>, Arc<io::Error>>>;

/// A [`Lookup`] that joins callers of the same name. Nothing is remembered once it is answered.
#[derive(Clone)]
pub struct Coalesced {
    lookup: Arc<dyn Lookup>,
    running: Arc<Mutex<HashMap<String, watch::Receiver<Answer>>>>,
}

impl Coalesced {
    /// Joins the callers of `lookup`.
    pub fn new(lookup: Arc<dyn Lookup>) -> Self {
        Self { lookup, running: Arc::default() }
    }

    fn join(&self, name: &str) -> watch::Receiver<Answer> {
        let mut running = self.lock();
        // One whose task has died tells nobody anything any more.
        if let Some(answer) = running.get(name).filter(|answer| answer.has_changed().is_ok()) {
            return answer.clone();
        }
        let (teller, answer) = watch::channel(None);
        running.insert(name.to_owned(), answer.clone());
        let (this, name) = (self.clone(), name.to_owned());
        // A task of its own: it runs on when every caller has given up.
        tokio::spawn(async move {
            let found = this.lookup.lookup(&name).await.map_err(Arc::new);
            this.lock().remove(&name);
            teller.send_replace(Some(found));
        });
        answer
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Answer>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Lookup for Coalesced {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut answer = self.join(name);
        let told = answer.wait_for(Option::is_some).await.map_err(io::Error::other)?;
        match told.as_ref() {
            Some(Ok(addresses)) => Ok(addresses.clone()),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.clone())),
            None => Err(io::Error::other("waited for an answer and there is none")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    struct Slow {
        lookups: AtomicUsize,
        answer: Semaphore,
    }

    #[async_trait]
    impl Lookup for Slow {
        async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            self.lookups.fetch_add(1, Ordering::SeqCst);
            self.answer.acquire().await.expect("open").forget();
            if name == "known.example" {
                Ok(vec![[1, 1, 1, 1].into()])
            } else {
                Err(io::Error::other("unknown"))
            }
        }
    }

    #[tokio::test]
    async fn callers_of_one_name_share_a_look_up_and_the_next_one_asks_anew() {
        let slow = Arc::new(Slow { lookups: AtomicUsize::new(0), answer: Semaphore::new(0) });
        let coalesced = Coalesced::new(slow.clone());
        let given_up =
            tokio::time::timeout(std::time::Duration::ZERO, coalesced.lookup("known.example")).await;
        assert!(given_up.is_err());
        let waiting: Vec<_> = (0..100).map(|_| coalesced.lookup("known.example")).collect();
        slow.answer.add_permits(1);
        for found in futures_util::future::join_all(waiting).await {
            assert_eq!(found.expect("known"), [IpAddr::from([1, 1, 1, 1])]);
        }
        assert_eq!(slow.lookups.load(Ordering::SeqCst), 1);
        slow.answer.add_permits(2);
        coalesced.lookup("known.example").await.expect("known");
        coalesced.lookup("unknown.example").await.expect_err("unknown");
        assert_eq!(slow.lookups.load(Ordering::SeqCst), 3);
    }
}
