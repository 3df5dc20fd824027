//! The interface descriptions held against programs that others wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

use runtime::testing::required_variable;

use crate::harness::{ACCOUNT_KEY, Footing, OPERATOR_KEY, SHOP_KEY, Service, Stack};

/// openapi-spec-validator takes each description, openapi-python-client makes a client of it without a
/// warning, and `e2e/openapi/*_uses.py` tries every operation that it lists.
pub async fn clients_made_from_the_descriptions_use_every_operation(footing: Footing) {
    let stack = Stack::start(footing).await;
    let urls =
        [Service::Pay, Service::Notifier, Service::Account].map(|one| stack.api(one).base().to_owned());
    let mut clients = python(stack.footing.folder.path());
    clients
        .arg(tools().join("clients.py"))
        .args(urls)
        .env("OPERATOR_KEY", OPERATOR_KEY)
        .env("SHOP_KEY", SHOP_KEY)
        .env("ACCOUNT_KEY", ACCOUNT_KEY)
        .env("SANDBOX_SECRET", &stack.sandbox_secret);
    succeeds(clients).await;
}

/// schemathesis, with every check and its own choice of requests, valid and invalid, one after another and
/// in sequences; `e2e/openapi/schemathesis.toml` says what is left out of that, and why.
pub async fn requests_made_up_from_the_descriptions_find_no_fault(footing: Footing) {
    let stack = Stack::start(footing).await;
    for (service, key) in
        [(Service::Pay, SHOP_KEY), (Service::Notifier, SHOP_KEY), (Service::Account, OPERATOR_KEY)]
    {
        let mut schemathesis = python(stack.footing.folder.path());
        schemathesis
            .args(["-m", "schemathesis.cli", "--config-file"])
            .arg(tools().join("schemathesis.toml"))
            .arg("run")
            .arg(format!("{}/openapi.json", stack.api(service).base()))
            .args(["--header", &format!("Authorization: Bearer {key}")])
            .env("SCHEMATHESIS_HOOKS", tools().join("hooks.py"));
        succeeds(schemathesis).await;
    }
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi")
}

/// The Python that has the tools, in a folder where it may leave files.
fn python(folder: &Path) -> Command {
    let mut python = Command::new(required_variable("TEST_PYTHON"));
    python.current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUTF8", "1");
    python
}

/// Waits beside the test, whose receiver goes on answering.
async fn succeeds(mut command: Command) {
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it does not panic");
    let output = output.expect("TEST_PYTHON runs");
    let [told, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{told}\n{errors}\n./scripts/test brings what it needs");
}
