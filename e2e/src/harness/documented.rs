//! The receivers of `docs/receivers/` as processes, each subscribed at the notifier as the merchant
//! `shop`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use runtime::testing::required_variable;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::net::TcpStream;

use super::stack::{ENDING, Stack};
use super::wait::{PATIENCE, eventually};
use super::{Api, Process, SHOP_KEY, ladder_of_seconds, port, text};

/// What the receiver is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `docs/receivers/python/`, run by `TEST_PYTHON`.
    Python,
    /// `docs/receivers/typescript/`, compiled and run by `node` with the packages of
    /// `TEST_NODE_MODULES`.
    TypeScript,
}

/// A receiver with its database.
pub struct Documented {
    /// What it is written in.
    pub language: Language,
    /// Its subscription's id.
    pub subscription: String,
    /// What its webhooks are signed with.
    pub secret: String,
    process: Process,
    address: SocketAddr,
    database: PathBuf,
}

impl Documented {
    /// One of each language, listening and subscribed, with `account_no` open.
    pub async fn in_every_language(stack: &Stack, account_no: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for language in [Language::Python, Language::TypeScript] {
            let mut receiver = Self::subscribed(language, stack).await;
            receiver.open_account(account_no).await;
            receiver.start().await;
            all.push(receiver);
        }
        all
    }

    async fn subscribed(language: Language, stack: &Stack) -> Self {
        let (folder, address) = (stack.footing.folder.path(), port::free());
        let subscription = json!({
            "name": format!("{language:?}"), "url": format!("http://{address}/hooks"),
            "event_types": ["recharge.*"], "ladder": ladder_of_seconds(20), "timeout": "5s",
        });
        let created =
            stack.notifier.with_key(SHOP_KEY).post("/v1/subscriptions", &subscription).await.expect(201);
        let (subscription, secret) = (text(&created["id"]), text(&created["secret"]));
        let database = folder.join(format!("{language:?}.db"));
        let process = language
            .process(folder)
            .variable("PATH", required_variable("PATH"))
            .variable("LISTEN", address.to_string())
            .variable("DATABASE", database.display().to_string())
            .variable("WEBHOOK_SECRET", &secret)
            .variable("PAY_SERVICE_URL", stack.pay.base())
            .variable("PAY_SERVICE_KEY", SHOP_KEY)
            .variable("RECONCILE_WAITS", "0.05,0.05");
        Self { language, subscription, secret, process, address, database }
    }

    /// Starts it, and waits until it listens.
    pub async fn start(&mut self) {
        self.process.start();
        let (process, address) = (&mut self.process, self.address);
        eventually(&format!("the receiver in {:?} listens", self.language), PATIENCE, async || {
            assert!(process.is_running(), "it ended by itself:\n{}", process.log());
            TcpStream::connect(address).await.ok()
        })
        .await;
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM; it must end with success.
    pub async fn end(&mut self) {
        self.process.terminate();
        let status = self.process.ended(ENDING).await;
        assert!(status.success(), "the receiver in {:?} ended with {status}", self.language);
    }

    /// Its command `open`.
    pub async fn open_account(&self, account_no: &str) {
        let opened = self.process.run(&["open", account_no]).await;
        assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    }

    /// Its command `reconcile`: what it prints, and its exit code.
    pub async fn reconcile(&self, tx_no: &str) -> (String, Option<i32>) {
        let output = self.process.run(&["reconcile", tx_no]).await;
        (String::from_utf8_lossy(&output.stdout).trim().to_owned(), output.status.code())
    }

    /// Its answer to a webhook with these headers.
    pub async fn answer(&self, headers: &[(&str, String)], body: &str) -> u16 {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let receiver = Api::new(format!("http://{}", self.address), "").without_key();
        let answered = receiver.call(reqwest::Method::POST, "/hooks", &headers, body.to_owned()).await;
        answered.unwrap_or_else(|error| panic!("{:?}: {error:?}", self.language)).status
    }

    /// What is on the account, in minor units.
    pub async fn balance(&self, account_no: &str) -> i64 {
        let balance = sqlx::query_scalar("SELECT balance FROM accounts WHERE account_no = ?");
        balance.bind(account_no).fetch_one(&mut self.books().await).await.expect("the account is open")
    }

    /// `tx_no` and amount of each credit, by `tx_no`.
    pub async fn credits(&self) -> Vec<(String, i64)> {
        let credits = sqlx::query_as("SELECT tx_no, amount FROM credits ORDER BY tx_no");
        credits.fetch_all(&mut self.books().await).await.expect("the books can be read")
    }

    async fn books(&self) -> SqliteConnection {
        let file = SqliteConnectOptions::new().filename(&self.database);
        file.connect().await.expect("the receiver's file opens")
    }
}

impl Language {
    fn process(self, folder: &Path) -> Process {
        let (program, receiver) = match self {
            Self::Python => (required_variable("TEST_PYTHON"), documents("python").join("receiver.py")),
            Self::TypeScript => ("node".to_owned(), compiled(&folder.join("typescript"))),
        };
        let name = format!("{self:?}-receiver");
        Process::foreign(program.into(), &name, folder).argument(receiver.display().to_string())
    }
}

fn documents(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/receivers").join(language)
}

/// The receiver in TypeScript, compiled in `folder` as its own `tsconfig.json` says.
fn compiled(folder: &Path) -> PathBuf {
    let modules = PathBuf::from(required_variable("TEST_NODE_MODULES"));
    std::fs::create_dir(folder).expect("a folder of its own");
    for file in ["package.json", "tsconfig.json", "receiver.ts"] {
        std::fs::copy(documents("typescript").join(file), folder.join(file)).expect("it is in the documents");
    }
    std::os::unix::fs::symlink(&modules, folder.join("node_modules")).expect("a link can be made");
    let compiler = modules.join("typescript/bin/tsc");
    let ran = Command::new("node").arg(compiler).arg("--project").arg(folder).output().expect("node runs");
    assert!(ran.status.success(), "tsc: {}", String::from_utf8_lossy(&ran.stdout));
    folder.join("build/receiver.js")
}
