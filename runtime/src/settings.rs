//! Settings: a flag, an environment variable, a key of an optional TOML file, in that order of
//! precedence, all three read by the one clap definition of the process.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::OsStr as OsText;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Args, Command, CommandFactory, Error, FromArgMatches, ValueEnum};

use crate::clock::SharedClock;
use crate::duration::HumanDuration;
use crate::keys::{Keyring, KeysFileError, MerchantKeys, key};
use crate::secret::Secret;
use crate::telemetry::LogFormat;
use crate::trace::TraceSettings;

/// What a service binary is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Migrate the database, then serve.
    Serve,
    /// Migrate the database and end.
    Migrate,
    /// Ask the running service whether it is ready; for container health checks.
    Healthcheck,
}

/// The settings that every process has.
#[derive(Debug, Clone, Args)]
pub struct CommonSettings {
    /// A TOML file with any of these settings; keys are the flags' names with `_`
    #[arg(long, env = "RINGBACK_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The key that may do everything
    #[arg(long, env = "RINGBACK_OPERATOR_KEY", hide_env_values = true, value_parser = key)]
    pub operator_key: Option<Secret>,
    /// The merchants' keys: `shop=KEY1,account-service=KEY2`
    #[arg(long, env = "RINGBACK_MERCHANT_KEYS", hide_env_values = true, default_value = "")]
    pub merchant_keys: MerchantKeys,
    /// A TOML file with hashes of keys, read again when it changes; `ringback keys` edits it
    #[arg(long, env = "KEYS_FILE", value_name = "FILE")]
    pub keys_file: Option<PathBuf>,
    /// How long work in flight may take to finish after SIGTERM
    #[arg(long, env = "GRACE_PERIOD", default_value = "40s")]
    pub grace_period: HumanDuration,
    /// How long a jump of the clock ahead must last before anything that can't be undone rests on it: 1s to 168h
    #[arg(long, env = "CLOCK_TRUST_AFTER", value_name = "TIME", default_value = "1h", value_parser = clock_trust_after)]
    pub clock_trust_after: HumanDuration,
    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Whether spans are exported.
    #[command(flatten)]
    pub trace: TraceSettings,
}

impl CommonSettings {
    /// The keys that callers may present: those of these settings, and those of `KEYS_FILE`, whose keys expire by
    /// `clock`.
    pub fn keyring(&self, clock: SharedClock) -> Result<Keyring, KeysFileError> {
        let keyring = Keyring::new(self.operator_key.as_ref(), &self.merchant_keys);
        match &self.keys_file {
            Some(file) => keyring.with_file(file, false, clock),
            None => Ok(keyring),
        }
    }
}

/// Where a service listens. Kept apart from [`CommonSettings`] since the all-in-one process has three.
#[derive(Debug, Clone, Copy, Args)]
pub struct ListenSettings {
    /// The address to listen on
    #[arg(long, env = "LISTEN")]
    pub listen: SocketAddr,
}

fn clock_trust_after(text: &str) -> Result<HumanDuration, &'static str> {
    let allowed = Duration::from_secs(1)..=Duration::from_hours(168);
    let time = text.parse().ok().filter(|time: &HumanDuration| allowed.contains(&time.0));
    time.ok_or("must be 1s to 168h, such as `1h`")
}

/// Reads the settings of this process, or prints what is wrong (naming the setting) and exits with 2.
pub fn load_or_exit<T: CommandFactory + FromArgMatches>() -> T {
    load_for_use(std::env::args_os().collect()).unwrap_or_else(|error| error.exit())
}

/// As [`load`]; refuses the published example values as well, which the samples are made of.
fn load_for_use<T: CommandFactory + FromArgMatches>(arguments: Vec<OsString>) -> Result<T, Error> {
    let (settings, command, matches) = read(arguments)?;
    match example_value(&command, &matches) {
        Some(message) => Err(T::command().error(ErrorKind::ValueValidation, message)),
        None => Ok(settings),
    }
}

/// Reads settings from `arguments`, the environment, and the file that `--config` names.
pub fn load<T: CommandFactory + FromArgMatches>(arguments: Vec<OsString>) -> Result<T, Error> {
    read(arguments).map(|(settings, ..)| settings)
}

fn read<T: CommandFactory + FromArgMatches>(
    arguments: Vec<OsString>,
) -> Result<(T, Command, ArgMatches), Error> {
    let mut command = match config_file(T::command(), &arguments) {
        Some(file) => with_file(T::command(), &file)?,
        None => T::command(),
    };
    command.build();
    let known = command.clone();
    let matches = command
        .try_get_matches_from(arguments)
        .map_err(|error| with_variables(without_secret(error, &known), &known))?;
    if let Some(message) = shared_key(&known, &matches) {
        return Err(T::command().error(ErrorKind::ValueValidation, message));
    }
    let settings = T::from_arg_matches(&matches).map_err(|error| error.format(&mut T::command()))?;
    Ok((settings, known, matches))
}

/// What the secrets of `.env.example` and the samples begin with; they are public.
const EXAMPLE: &str = "change-me";
/// The same, where a secret is written in base64.
const EXAMPLE_BASE64: &str = "Y2hhbmdlLW1l";

/// A secret that is still the published example, alone or inside a list or a URL.
fn example_value(command: &Command, matches: &ArgMatches) -> Option<String> {
    let holds_example = |arg: &&Arg| {
        let values = matches.try_get_raw(arg.get_id().as_str()).ok().flatten();
        let is_example = |value: &OsStr| {
            let text = value.to_string_lossy();
            text.to_ascii_lowercase().contains(EXAMPLE) || text.contains(EXAMPLE_BASE64)
        };
        values.is_some_and(|mut values| values.any(is_example))
    };
    let arg = command.get_arguments().filter(|arg| is_secret(arg)).find(holds_example)?;
    let right = "make one of your own, such as by `openssl rand -hex 24`";
    Some(format!("{} holds a published example value (`{EXAMPLE}…`): {right}", both_names(arg)))
}

/// An operator's key that is a merchant's as well would make the operator that merchant.
fn shared_key(command: &Command, matches: &ArgMatches) -> Option<String> {
    let operator: &Secret = matches.try_get_one("operator_key").ok().flatten()?;
    let merchants: &MerchantKeys = matches.try_get_one("merchant_keys").ok().flatten()?;
    let merchant = merchants.owner_of(operator)?;
    let named =
        |id| command.get_arguments().find(|arg| arg.get_id() == id).map_or_else(String::new, both_names);
    let (operator, merchants) = (named("operator_key"), named("merchant_keys"));
    Some(format!(
        "{operator} is the key of the merchant `{merchant}` in {merchants}: each needs a key of its own"
    ))
}

/// The flag and the variable of a setting.
fn both_names(arg: &Arg) -> String {
    match arg.get_env() {
        Some(variable) => format!("{arg} ({})", variable.display()),
        None => arg.to_string(),
    }
}

/// A setting whose environment variable is not shown may hold a secret.
fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

/// clap quotes the value it refuses.
fn without_secret(mut error: Error, command: &Command) -> Error {
    let Some(ContextValue::String(refused)) = error.get(ContextKind::InvalidArg) else { return error };
    if named(command, refused).is_some_and(is_secret) {
        error.insert(ContextKind::InvalidValue, ContextValue::String("[redacted]".to_owned()));
    }
    error
}

/// clap names the flag; whoever set a variable looks for its name.
fn with_variables(mut error: Error, command: &Command) -> Error {
    let both = |flag: &String| named(command, flag).map_or_else(|| flag.clone(), both_names);
    let value = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => ContextValue::String(both(flag)),
        Some(ContextValue::Strings(flags)) => ContextValue::Strings(flags.iter().map(both).collect()),
        _ => return error,
    };
    error.insert(ContextKind::InvalidArg, value);
    error
}

/// The argument that an error shows as `flag`.
fn named<'a>(command: &'a Command, flag: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.to_string() == flag)
}

/// Looks only for `--config`, before anything else is judged.
fn config_file(command: Command, arguments: &[OsString]) -> Option<PathBuf> {
    let command = command.ignore_errors(true).disable_help_flag(true).disable_version_flag(true);
    let matches = command.try_get_matches_from(arguments).ok()?;
    matches.try_get_one::<PathBuf>("config").ok().flatten().cloned()
}

/// The file's values become the defaults of their flags, so that flags and environment override them.
fn with_file(mut command: Command, file: &Path) -> Result<Command, Error> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| command.error(ErrorKind::Io, format!("can't read --config {name}: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        command.error(ErrorKind::ValueValidation, format!("{name}: {}", error.message()))
    })?;
    for (key, value) in table {
        let known = command.get_arguments().any(|a| a.get_id() == key.as_str() && a.get_long().is_some());
        if !known || key == "config" {
            return Err(command.error(ErrorKind::UnknownArgument, format!("{name}: unknown setting `{key}`")));
        }
        let Some(text) = as_text(&value) else {
            let message = format!("{name}: `{key}` must be text, a number, true/false, or a list of texts");
            return Err(command.error(ErrorKind::ValueValidation, message));
        };
        command = command.mut_arg(&key, |arg| {
            let hide = is_secret(&arg);
            arg.required(false).default_value(OsText::from(text)).hide_default_value(hide)
        });
    }
    Ok(command)
}

fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(|all| all.join(",")),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Settings {
        #[arg(value_enum, default_value = "serve")]
        action: Action,
        #[command(flatten)]
        listen: ListenSettings,
        #[command(flatten)]
        common: CommonSettings,
    }

    fn with_config(text: &str, more: &[&str]) -> Result<Settings, Error> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        let mut arguments: Vec<OsString> = vec!["test".into(), "--config".into(), file.path().into()];
        arguments.extend(more.iter().map(OsString::from));
        load(arguments)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = "listen = \"127.0.0.1:1\"\ngrace_period = \"7s\"\n";
        let settings = with_config(file, &["--listen", "127.0.0.1:2"]).expect("valid");
        assert_eq!(settings.listen.listen.port(), 2);
        assert_eq!(settings.common.grace_period.to_string(), "7s");
        assert_eq!(settings.action, Action::Serve);
    }

    #[test]
    fn an_unknown_key_or_a_bad_value_names_the_setting() {
        for (file, named) in [
            ("colour = \"red\"", "colour"),
            ("listen = \"nowhere\"", "--listen"),
            ("listen = \"127.0.0.1:1\"\ngrace_period = \"soon\"", "--grace-period"),
            ("listen = 1.5", "listen"),
        ] {
            let message = with_config(file, &[]).expect_err(file).to_string();
            assert!(message.contains(named), "{message}");
        }
    }

    #[test]
    fn a_missing_or_bad_setting_is_named_as_flag_and_as_variable() {
        let load = |arguments: &[&str]| {
            let arguments = [&["test"], arguments].concat().into_iter().map(OsString::from).collect();
            load::<Settings>(arguments).expect_err("not valid").to_string()
        };
        for message in [load(&[]), load(&["--listen", "nowhere"])] {
            assert!(message.contains("--listen <LISTEN> (LISTEN)"), "{message}");
        }
    }

    #[test]
    fn a_bad_secret_is_named_and_not_shown() {
        let from_file = with_config("listen = \"127.0.0.1:1\"\nmerchant_keys = \"a=hush,b\"", &[]);
        let from_flag = with_config("listen = \"127.0.0.1:1\"", &["--merchant-keys", "a=hush,b"]);
        for refused in [from_file, from_flag] {
            let message = refused.expect_err("b has no key").to_string();
            assert!(message.contains("--merchant-keys") && !message.contains("hush"), "{message}");
        }
    }

    #[test]
    fn keys_that_lock_everybody_out_are_refused_by_their_setting() {
        for (arguments, named) in [
            (&["--operator-key", ""][..], "--operator-key"),
            (&["--operator-key", "hush "], "--operator-key"),
            (&["--operator-key", "hush-schlüssel"], "--operator-key"),
            (&["--merchant-keys", "shop=hush key"], "--merchant-keys"),
            (&["--merchant-keys", "shop=hush,kiosk=hush"], "--merchant-keys"),
            (&["--operator-key", "hush", "--merchant-keys", "kiosk=k,shop=hush"], "--operator-key"),
        ] {
            let loaded = with_config("listen = \"127.0.0.1:1\"", arguments);
            let error = loaded.expect_err(named).to_string();
            assert!(error.contains(named) && !error.contains("hush"), "{error}");
        }
        let same = &["--operator-key", "hush", "--merchant-keys", "kiosk=k,shop=hush"];
        let error = with_config("listen = \"127.0.0.1:1\"", same).expect_err("the same key").to_string();
        assert!(error.contains("RINGBACK_MERCHANT_KEYS") && error.contains("`shop`"), "{error}");
    }

    #[test]
    fn example_values_are_refused_wherever_they_stand() {
        let base64 = "shop=Y2hhbmdlLW1lLWNoYW5nZS1tZS1jaGFuZ2UtbWUtMzI=";
        for (flag, value, named) in [
            ("--operator-key", "change-me-operator-key", "RINGBACK_OPERATOR_KEY"),
            ("--operator-key", "Change-Me", "RINGBACK_OPERATOR_KEY"),
            ("--merchant-keys", "kiosk=k,shop=change-me-shop-key", "RINGBACK_MERCHANT_KEYS"),
            ("--merchant-keys", base64, "RINGBACK_MERCHANT_KEYS"),
        ] {
            let arguments: Vec<OsString> =
                ["test", "--listen", "127.0.0.1:1", flag, value].map(OsString::from).into();
            assert!(load::<Settings>(arguments.clone()).is_ok(), "the samples can be read");
            let error = load_for_use::<Settings>(arguments).expect_err(named).to_string();
            assert!(error.contains(named) && !error.contains("change-me-"), "{error}");
        }
    }

    #[test]
    fn help_shows_no_secret_of_the_file() {
        let file = "operator_key = \"hush\"\nmerchant_keys = \"a=hush\"\ngrace_period = \"7s\"";
        let help = with_config(file, &["--help"]).expect_err("help ends the program").to_string();
        assert!(help.contains("[default: 7s]") && !help.contains("hush"), "{help}");
    }

    #[test]
    fn secrets_are_redacted_wherever_settings_are_printed() {
        let settings = with_config(
            "listen = \"127.0.0.1:1\"\noperator_key = \"hush\"\nmerchant_keys = \"a=hush-a\"",
            &[],
        );
        let printed = format!("{:?}", settings.expect("valid"));
        assert!(!printed.contains("hush"), "{printed}");
    }
}
