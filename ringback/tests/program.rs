//! The program as a new user meets it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A running `ringback`, killed when the test ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ringback(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    command.current_dir(folder).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command.args(["--pay-listen", "127.0.0.1:0", "--notifier-listen", "127.0.0.1:0"]);
    command.args(["--account-listen", "127.0.0.1:0"]);
    command
}

/// Starts it and answers what it printed up to the end of the last command.
fn start(folder: &Path) -> (Program, String) {
    start_with(&mut ringback(folder))
}

fn start_with(command: &mut Command) -> (Program, String) {
    let mut child = command.spawn().expect("the program starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut printed = String::new();
    for line in lines.map_while(Result::ok) {
        printed.push_str(&line);
        printed.push('\n');
        if line.contains("merchant_order_no") {
            break;
        }
    }
    (Program(child), printed)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.map_or_else(|| panic!("`{before}…{after}` is not in what was printed:\n{text}"), |(found, _)| found)
}

#[tokio::test]
async fn the_printed_commands_work_when_pasted_and_the_keys_survive_a_restart_without_being_printed_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, printed) = start(folder.path());
    let (subscribe, recharge) = commands(&printed);
    let (status, subscription) = paste(folder.path(), subscribe).await;
    assert_eq!((status, &subscription["name"]), (201, &"my-shop".into()));
    assert!(subscription["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")));
    let (status, recharged) = paste(folder.path(), recharge).await;
    assert_eq!((status, &recharged["amount"]), (201, &1000.into()));
    assert_eq!(
        (&recharged["status"], &recharged["merchant"]),
        (&"succeeded".into(), &subscription["merchant"])
    );
    let data = between(&printed, "data and keys    ", "\n");
    assert!(Path::new(data).is_absolute() && Path::new(data).join("keys.toml").is_file(), "{printed}");
    drop(program);

    let (_program, again) = start(folder.path());
    let key = between(&printed, "operator key     ", "\n");
    let kept = std::fs::read_to_string(folder.path().join("ringback-data/keys.toml")).expect("kept");
    assert!(kept.contains(key), "the first key is kept");
    assert!(!again.contains(key) && !again.contains("mk_"), "it is printed once:\n{again}");
    assert!(between(&again, "operator key     ", "\n").ends_with("ringback-data/keys.toml"), "{again}");
    assert_eq!(paste(folder.path(), commands(&again).1).await.0, 200, "the same order again:\n{again}");
}

/// The two commands that are printed: subscribe, recharge.
fn commands(printed: &str) -> (&str, &str) {
    let mut parts = printed.split("  curl -s ").skip(1);
    let commands = (parts.next().expect("a first command"), parts.next().expect("a second one"));
    assert!(parts.next().is_none(), "{printed}");
    commands
}

/// What a printed `curl` is answered, its key read by a shell as printed.
async fn paste(folder: &Path, command: &str) -> (u16, Value) {
    let url = command.split_whitespace().next().expect("a URL");
    let header = between(command, "-H ", " -H");
    let echo = format!("printf %s {header}");
    let output = Command::new("sh").current_dir(folder).args(["-c", &echo]).output().expect("a shell");
    let header = String::from_utf8(output.stdout).expect("text");
    let request = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = request
        .post(url)
        .header("authorization", header.strip_prefix("authorization: ").expect("the header"))
        .header("content-type", "application/json")
        .body(between(command, "-d '", "'").to_owned());
    let answer = request.send().await.expect("answered");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[test]
fn configured_keys_are_never_printed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let configured = |folder: &Path| {
        let mut command = ringback(folder);
        command
            .env("RINGBACK_OPERATOR_KEY", "hush-operator")
            .env("RINGBACK_MERCHANT_KEYS", "kiosk=hush-kiosk");
        start_with(&mut command)
    };
    let (program, first) = configured(folder.path());
    drop(program);
    let (_program, second) = configured(folder.path());
    for printed in [first, second] {
        assert!(!printed.contains("hush"), "{printed}");
        assert_eq!(between(&printed, "operator key     ", "\n"), "as configured");
        assert!(printed.contains("Bearer KEY_OF_kiosk"), "{printed}");
    }
}

#[test]
fn a_second_process_on_the_same_data_directory_is_refused_and_one_after_a_kill_is_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, _) = start(folder.path());
    let kept = || std::fs::read(folder.path().join("ringback-data/keys.toml")).expect("kept");
    let before = kept();
    let output = ringback(folder.path()).output().expect("the second ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{errors}");
    let number = format!("process {}", program.0.id());
    for named in ["ringback-data", &number, "--data-dir", "RINGBACK_DATA_DIR"] {
        assert!(errors.contains(named), "`{named}` is not in: {errors}");
    }
    assert_eq!(kept(), before);
    drop(program);
    start(folder.path());
}

#[test]
fn everything_in_the_data_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("ringback-data");
    std::fs::create_dir(&data).expect("made");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).expect("its owner may");
    let mut shell = Command::new("sh");
    shell.current_dir(folder.path()).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = env!("CARGO_BIN_EXE_ringback");
    let addresses = "--pay-listen 127.0.0.1:0 --notifier-listen 127.0.0.1:0 --account-listen 127.0.0.1:0";
    let (_program, _) = start_with(shell.args(["-c", &format!("umask 0; exec {program} {addresses}")]));
    let files = std::fs::read_dir(&data).expect("there").map(|entry| entry.expect("readable").path());
    let open: Vec<_> = files
        .chain([data.clone()])
        .filter(|path| std::fs::metadata(path).expect("there").permissions().mode() & 0o077 != 0)
        .collect();
    assert_eq!(open, Vec::<std::path::PathBuf>::new());
}

/// Accepts connections, says so, and answers each with an empty 200.
#[cfg(feature = "otlp")]
async fn counted() -> (String, tokio::sync::mpsc::UnboundedReceiver<()>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (taken, count) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = taken.send(());
            let _ = stream.read(&mut [0; 4096]).await;
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        }
    });
    (url, count)
}

#[cfg(feature = "otlp")]
#[tokio::test]
async fn no_proxy_of_the_environment_is_used_for_anything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ((proxy, mut at_proxy), (collector, mut at_collector)) = (counted().await, counted().await);
    let mut command = ringback(folder.path());
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(variable, &proxy);
    }
    command.env("OTLP_ENDPOINT", &collector);
    let (_program, printed) =
        tokio::task::spawn_blocking(move || start_with(&mut command)).await.expect("started");
    assert_eq!(paste(folder.path(), commands(&printed).1).await.0, 201);
    at_collector.recv().await.expect("its spans arrive at the collector");
    assert!(at_proxy.try_recv().is_err(), "nothing went to the proxy");
}

#[test]
fn without_the_key_of_its_secrets_it_says_so_and_does_not_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, _) = start(folder.path());
    drop(program);
    let file = folder.path().join("ringback-data/notifier.db.keys");
    let kept = std::fs::read_to_string(&file).expect("the key of its secrets is kept");
    let (id, key) = kept.trim().split_once(':').expect("an id and a key");
    std::fs::remove_file(&file).expect("it can be lost");
    let output = ringback(folder.path()).output().expect("the program ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("SECRET_KEYS") && errors.contains(id), "{errors}");
    assert!(!errors.contains(key), "{errors}");
    std::fs::write(&file, &kept).expect("it can be put back");
    let (_program, printed) = start(folder.path());
    assert!(printed.contains("operator key"), "it starts again:\n{printed}");
}

#[test]
fn the_demo_comes_true() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = ringback(folder.path()).arg("demo").output().expect("the demo runs");
    let story = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story}\n{errors}");
    for line in
        ["attempt 3: accepts", "exhausted", "loses the notification", "credited by the query", "35.00 CNY"]
    {
        assert!(story.contains(line), "`{line}` is not in:\n{story}");
    }
}

#[test]
fn an_address_in_use_is_said_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    let output = command
        .current_dir(folder.path())
        .env_clear()
        .args(["--pay-listen", &address])
        .output()
        .expect("the program ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains(&address) && errors.contains("--pay-listen"), "{errors}");
}

#[tokio::test]
async fn silent_connections_take_no_descriptor_that_another_service_needs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut shell = Command::new("sh");
    shell.current_dir(folder.path()).env_clear().stdout(Stdio::piped()).stderr(Stdio::null());
    let program = env!("CARGO_BIN_EXE_ringback");
    let addresses = "--pay-listen 127.0.0.1:0 --notifier-listen 127.0.0.1:0 --account-listen 127.0.0.1:0";
    shell.args(["-c", &format!("ulimit -n 256; exec {program} {addresses}")]);
    let (_program, printed) =
        tokio::task::spawn_blocking(move || start_with(&mut shell)).await.expect("started");
    let url = |service: &str| between(&printed, service, "\n").trim().to_owned();
    let [pay, notifier, account] = ["pay-service      ", "notifier         ", "account-service  "].map(url);
    let address = pay.strip_prefix("http://").expect("a URL");
    let silent: Vec<_> =
        (0..400).map(|_| std::net::TcpStream::connect(address).expect("in the backlog")).collect();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for service in [&notifier, &account, &pay] {
        for path in ["healthz", "readyz"] {
            let answer = client.get(format!("{service}/{path}")).send().await.expect("answered");
            assert_eq!(answer.status(), 200, "{service}/{path}");
        }
    }
    drop(silent);
}
