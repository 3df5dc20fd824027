//! Name servers that tell what a test wants them to.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;

use async_trait::async_trait;
use notifier::webhook::Lookup;

/// Knows these names alone. Each look-up of a name takes the next of its answers; the last one is
/// given again and again.
#[derive(Default)]
pub struct Names(Mutex<HashMap<String, Name>>);

struct Name {
    answers: Vec<Vec<IpAddr>>,
    lookups: usize,
}

impl Names {
    pub fn new<'a>(names: impl IntoIterator<Item = (&'a str, &'a [&'a [&'a str]])>) -> Self {
        let parsed = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().expect("an address")).collect();
        let names = names.into_iter().map(|(name, answers)| {
            (name.to_owned(), Name { answers: answers.iter().map(parsed).collect(), lookups: 0 })
        });
        Self(Mutex::new(names.collect()))
    }

    /// How often a name has been looked up.
    pub fn lookups(&self, name: &str) -> usize {
        self.0.lock().expect("unpoisoned").get(name).map_or(0, |name| name.lookups)
    }
}

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().expect("unpoisoned");
        let name = names.get_mut(name).ok_or_else(|| io::Error::other("no such name"))?;
        let answer = &name.answers[name.lookups.min(name.answers.len() - 1)];
        name.lookups += 1;
        Ok(answer.clone())
    }
}

/// Never answers for names that begin with `dead`; all others are this machine's own.
pub struct HalfDead;

#[async_trait]
impl Lookup for HalfDead {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if name.starts_with("dead") { std::future::pending().await } else { Ok(vec![[127, 0, 0, 1].into()]) }
    }
}
