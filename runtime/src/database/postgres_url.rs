//! `postgres://USER:PASSWORD@HOST,HOST/DATABASE?PARAMETERS`: one host or several.

use std::path::Path;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::form_urlencoded::{Serializer, parse};

use super::BadDatabaseUrl;
use crate::authorities::Authorities;
use crate::secret::Secret;

/// What may follow the `?`, beside `options[NAME]`.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];
const ROOTS: [&str; 3] = ["sslrootcert", "ssl-root-cert", "ssl-ca"];
const TARGET: &str = "target_session_attrs";
const HOSTS: &str = "up to 16 hosts can be named";
const MAX_HOSTS: usize = 16;

/// Where a Postgres is. Checked when it is parsed; the password is never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    text: Secret,
    authorities: Option<Authorities>,
}

/// The servers of a URL, in its order.
pub(super) struct Servers {
    /// How each of them is connected to.
    pub hosts: Vec<PgConnectOptions>,
    /// Whether a server that is read-only is passed over.
    pub must_write: bool,
}

/// A URL taken apart; every text is still encoded.
struct Parts<'a> {
    /// `USER:PASSWORD@`, or nothing.
    login: &'a str,
    hosts: Vec<&'a str>,
    /// `/DATABASE`, or nothing.
    path: &'a str,
    query: Vec<(String, String)>,
}

impl PostgresUrl {
    /// The whole URL, for a program that connects by itself.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// The same server, whose certificate must be signed by one of these authorities.
    pub(super) fn trusting(self, authorities: Authorities) -> Result<Self, BadDatabaseUrl> {
        let trusting = Self { authorities: Some(authorities), ..self };
        trusting.servers().map(|_| trusting)
    }

    /// The hosts and the database, without login and parameters.
    pub(super) fn shown(&self) -> String {
        let Ok(Parts { hosts, path, .. }) = Parts::of(self.text.expose()) else {
            return "postgres://[unreadable]".to_owned();
        };
        let names: Vec<&str> = hosts.iter().map(|host| name_and_port(host).0).collect();
        format!("postgres://{}{path}", names.join(","))
    }

    pub(super) fn servers(&self) -> Result<Servers, BadDatabaseUrl> {
        let Parts { login, hosts, path, mut query } = Parts::of(self.text.expose())?;
        let must_write = must_write(&mut query, hosts.len())?;
        known(&query)?;
        let says = |names: [&str; 3]| query.iter().any(|(name, _)| names.contains(&name.as_str()));
        let says_mode = says(["sslmode", "ssl-mode", "ssl_mode"]);
        if self.authorities.is_some() && says(ROOTS) {
            return Err(refused("sslrootcert and DATABASE_CA_FILE exclude each other"));
        }
        let query = query.into_iter().fold(Serializer::new(String::new()), |mut all, (name, value)| {
            all.append_pair(&name, &value);
            all
        });
        let query = { query }.finish();
        let mut options = Vec::with_capacity(hosts.len());
        for host in hosts {
            let options_of_host = options_of(&format!("postgres://{login}{host}{path}?{query}"))?;
            options.push(self.verifying(options_of_host, says_mode)?);
        }
        Ok(Servers { hosts: options, must_write })
    }

    /// The same options, which check the certificate where authorities are named for it.
    fn verifying(
        &self,
        options: PgConnectOptions,
        says_mode: bool,
    ) -> Result<PgConnectOptions, BadDatabaseUrl> {
        let Some(authorities) = &self.authorities else { return Ok(options) };
        let options = options.ssl_root_cert_from_pem(authorities.pem().to_vec());
        match options.get_ssl_mode() {
            PgSslMode::VerifyCa | PgSslMode::VerifyFull => Ok(options),
            _ if !says_mode => Ok(options.ssl_mode(PgSslMode::VerifyFull)),
            _ => Err(refused(
                "with DATABASE_CA_FILE, sslmode must be verify-full (the default then) or verify-ca",
            )),
        }
    }
}

impl FromStr for PostgresUrl {
    type Err = BadDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, BadDatabaseUrl> {
        let url = Self { text: Secret::new(text), authorities: None };
        url.servers().map(|_| url)
    }
}

/// How the one host of `url` is connected to. An IPv6 address stands in brackets in a URL only.
fn options_of(url: &str) -> Result<PgConnectOptions, BadDatabaseUrl> {
    let options = PgConnectOptions::from_str(url).map_err(|error| match error {
        sqlx::Error::Configuration(error) => refused(error.to_string()),
        error => refused(error.to_string()),
    })?;
    let address = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Ok(match address.map(str::to_owned) {
        Some(address) => options.host(&address),
        None => options,
    })
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, BadDatabaseUrl> {
        let (_, rest) = text.split_once("://").ok_or(BadDatabaseUrl::UnknownScheme)?;
        if rest.contains('#') {
            return Err(refused("a `#` in the password is written %23"));
        }
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
        let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let hosts: Vec<&str> = hosts.split(',').collect();
        let several = hosts.len() > 1;
        if hosts.len() > MAX_HOSTS {
            return Err(refused(HOSTS));
        }
        for host in &hosts {
            let (name, port) = name_and_port(host);
            if several && name.is_empty() {
                return Err(refused("one of the hosts is empty"));
            }
            if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
                return Err(refused(
                    "a port must be 1 to 65535; `/`, `?` and `@` in the password are written %2F, %3F and %40",
                ));
            }
        }
        let query = parse(query.as_bytes()).into_owned().collect();
        Ok(Self { login, hosts, path, query })
    }
}

/// A host of the URL and its port.
fn name_and_port(host: &str) -> (&str, Option<&str>) {
    let after_address = host.rfind(']').map_or(0, |end| end + 1);
    match host[after_address..].rfind(':') {
        Some(colon) => (&host[..after_address + colon], Some(&host[after_address + colon + 1..])),
        None => (host, None),
    }
}

/// Takes `target_session_attrs` out of the parameters. Of several hosts one takes writes, and only that
/// one is used unless `any` is said; a single host is used as it is, so that a read-only one still
/// answers reads.
fn must_write(query: &mut Vec<(String, String)>, hosts: usize) -> Result<bool, BadDatabaseUrl> {
    let mut must_write = hosts > 1;
    for (_, value) in query.extract_if(.., |(name, _)| name == TARGET) {
        must_write = match value.as_str() {
            "read-write" | "primary" => true,
            "any" => false,
            _ => {
                return Err(refused(
                    "target_session_attrs must be read-write, primary or any: the service writes",
                ));
            }
        };
    }
    Ok(must_write)
}

fn known(query: &[(String, String)]) -> Result<(), BadDatabaseUrl> {
    for (name, value) in query {
        let is_option = name.strip_prefix("options[").is_some_and(|name| name.ends_with(']'));
        if !is_option && !PARAMETERS.contains(&name.as_str()) {
            return Err(BadDatabaseUrl::unknown_parameter(name));
        }
        if matches!(name.as_str(), "host" | "hostaddr" | "port") && value.contains(',') {
            return Err(refused(
                "several hosts are written before the database: postgres://HOST:PORT,HOST:PORT/DATABASE",
            ));
        }
        if ROOTS.contains(&name.as_str()) {
            Authorities::read(Path::new(value)).map_err(|error| refused(format!("{name}: {error}")))?;
        }
    }
    Ok(())
}

fn refused(why: impl Into<String>) -> BadDatabaseUrl {
    BadDatabaseUrl::Refused(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Servers, String> {
        let url: PostgresUrl = text.parse().map_err(|error: BadDatabaseUrl| error.to_string())?;
        Ok(url.servers().expect("it was parsed"))
    }

    fn hosts(text: &str) -> Vec<(String, u16)> {
        let servers = of(text).expect(text);
        servers.hosts.iter().map(|host| (host.get_host().to_owned(), host.get_port())).collect()
    }

    #[test]
    fn each_of_several_hosts_may_have_its_port_and_shares_the_rest() {
        let text = "postgres://pay:hu%2Csh@a:5433,b,[::1]:5434/pay?options[search_path]=x&target_session_attrs=read-write";
        assert_eq!(hosts(text), [("a".to_owned(), 5433), ("b".to_owned(), 5432), ("::1".to_owned(), 5434)]);
        for host in of(text).expect("valid").hosts {
            assert_eq!((host.get_username(), host.get_database()), ("pay", Some("pay")));
            assert_eq!(host.get_options(), Some("-c search_path=x"));
        }
        assert_eq!(hosts("postgres://%2Fvar%2Frun/pay").len(), 1);
    }

    #[test]
    fn of_several_hosts_the_one_that_takes_writes_is_wanted_unless_the_url_says_any() {
        for (text, must_write) in [
            ("postgres://a/x", false),
            ("postgres://a/x?target_session_attrs=read-write", true),
            ("postgres://a/x?target_session_attrs=primary", true),
            ("postgres://a,b/x", true),
            ("postgres://a,b/x?target_session_attrs=any", false),
        ] {
            assert_eq!(of(text).expect(text).must_write, must_write, "{text}");
        }
    }

    #[test]
    fn a_url_that_can_t_be_used_is_refused_with_the_reason_and_without_its_password() {
        for (text, reason) in [
            ("postgres://u:hush@a/x?connect_timeout=3", "unknown parameter `connect_timeout`"),
            ("postgres://u:hush@a/x?Hush=1", "without a known name"),
            ("postgres://u:hu?sh@a/x", "%3F"),
            ("postgres://u:hu/sh@a/x", "%2F"),
            ("postgres://u:hush#x@a/x", "%23"),
            ("postgres://u:hush@a:0,b/x", "a port must be 1 to 65535"),
            ("postgres://u:hush@a,,b/x", "one of the hosts is empty"),
            ("postgres://u:hush@/x?host=a,b", "postgres://HOST:PORT,HOST:PORT/DATABASE"),
            ("postgres://u:hush@a,b/x?target_session_attrs=standby", "must be read-write"),
            ("postgres://u:hush@a/x?sslmode=perhaps", "ssl"),
            ("postgres://u:hush@a/x?sslrootcert=/nowhere.pem", "sslrootcert: can't read /nowhere.pem"),
        ] {
            let error = of(text).err().unwrap_or_else(|| panic!("{text} was taken"));
            assert!(error.contains(reason) && !error.to_lowercase().contains("hush"), "{text}: {error}");
        }
    }
}
