//! Looks names up as this machine is configured to: `/etc/hosts`, and the servers, search domains
//! and options of `/etc/resolv.conf`. Other sources (`nsswitch.conf`) are not asked.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::system_conf::read_system_conf;
use tokio::time::Instant;

use super::dns::Dns;
use super::lookup::Lookup;

/// What decides how names are looked up.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
/// How long a change of [`FILES`] may go unnoticed.
const RECHECK: Duration = Duration::from_secs(5);

/// This machine's look-up. Follows changes of its configuration.
#[derive(Default)]
pub struct SystemLookup(Following<Files>);

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let lookup = self.0.current(Instant::now())?;
        lookup.lookup(name).await
    }
}

/// Where a look-up comes from.
trait Configuration {
    type Version: PartialEq;

    /// Differs after a change.
    fn version(&self) -> Self::Version;

    fn read(&self) -> io::Result<Arc<dyn Lookup>>;
}

/// The look-up of a configuration that may change.
#[derive(Default)]
struct Following<C: Configuration> {
    configuration: C,
    current: Mutex<Option<Current<C::Version>>>,
}

struct Current<V> {
    lookup: Arc<dyn Lookup>,
    version: V,
    checked: Instant,
}

impl<C: Configuration> Following<C> {
    fn current(&self, now: Instant) -> io::Result<Arc<dyn Lookup>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Current { lookup, .. }) = current.as_ref().filter(|c| now < c.checked + RECHECK) {
            return Ok(lookup.clone());
        }
        let version = self.configuration.version();
        let lookup = match current.take() {
            Some(unchanged) if unchanged.version == version => unchanged.lookup,
            _ => self.configuration.read()?,
        };
        *current = Some(Current { lookup: lookup.clone(), version, checked: now });
        Ok(lookup)
    }
}

#[derive(Default)]
struct Files;

impl Configuration for Files {
    type Version = [Option<SystemTime>; 2];

    fn version(&self) -> Self::Version {
        FILES.map(|file| std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok())
    }

    fn read(&self) -> io::Result<Arc<dyn Lookup>> {
        let (config, options) = read_system_conf().unwrap_or_else(|error| {
            // What resolv.conf(5) says of a machine without one.
            tracing::warn!(%error, "webhook.no_name_servers");
            let server = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            (ResolverConfig::from_name_servers(vec![server]), ResolverOpts::default())
        });
        Ok(Arc::new(Dns::new(&config, &options).map_err(io::Error::other)?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Says how often it has been read.
    #[derive(Default)]
    struct Counted {
        version: AtomicUsize,
        reads: AtomicUsize,
    }

    struct Read(u8);

    #[async_trait]
    impl Lookup for Read {
        async fn lookup(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
            Ok(vec![[10, 0, 0, self.0].into()])
        }
    }

    impl Configuration for Counted {
        type Version = usize;

        fn version(&self) -> usize {
            self.version.load(Ordering::SeqCst)
        }

        fn read(&self) -> io::Result<Arc<dyn Lookup>> {
            let reads = self.reads.fetch_add(1, Ordering::SeqCst);
            Ok(Arc::new(Read(u8::try_from(reads + 1).expect("few reads"))))
        }
    }

    #[tokio::test]
    async fn a_changed_configuration_is_read_anew_and_an_unchanged_one_never() {
        let following = Following::<Counted>::default();
        let began = Instant::now();
        let reads = async |at: u32| {
            let lookup = following.current(began + RECHECK * at / 2).expect("read");
            lookup.lookup("shop.example").await.expect("found")[0].to_string()
        };
        assert_eq!(reads(0).await, "10.0.0.1");
        assert_eq!(reads(20).await, "10.0.0.1");
        following.configuration.version.store(1, Ordering::SeqCst);
        assert_eq!(reads(21).await, "10.0.0.1", "it was looked at a moment ago");
        assert_eq!(reads(22).await, "10.0.0.2");
        assert_eq!(reads(24).await, "10.0.0.2");
    }

    #[tokio::test]
    async fn this_machines_own_name_for_itself_is_known() {
        let found = SystemLookup::default().lookup("localhost").await.expect("found");
        assert!(found.contains(&Ipv4Addr::LOCALHOST.into()), "{found:?}");
    }
}
