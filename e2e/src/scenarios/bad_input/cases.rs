//! One request that must be refused, and the ways in which every endpoint's body can be wrong.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api};

/// One request and the status it must get.
pub struct Case {
    /// What is wrong with it, for messages.
    pub what: String,
    method: Method,
    path: String,
    key: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
    status: u16,
}

impl Case {
    /// A `GET` with the key.
    pub fn get(path: impl Into<String>, key: &str, status: u16) -> Self {
        Self::bare(Method::GET, path, Some(key), status)
    }

    /// A request of any method with this JSON text as its body.
    pub fn send_text(method: Method, path: &str, key: Option<&str>, body: &str, status: u16) -> Self {
        let mut case = Self::bare(method, path, key, status).with_header("content-type", "application/json");
        body.clone_into(&mut case.body);
        case.what = format!("{} {}", case.what, body.chars().take(120).collect::<String>());
        case
    }

    /// A request without a body.
    pub fn bare(method: Method, path: impl Into<String>, key: Option<&str>, status: u16) -> Self {
        let path = path.into();
        let what = format!("{method} {path}");
        let key = key.map(str::to_owned);
        Self { what, method, path, key, headers: Vec::new(), body: String::new(), status }
    }

    /// The same with a header more.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends it.
    pub async fn send(&self, api: &Api) -> Answer {
        let api = self.key.as_ref().map_or_else(|| api.without_key(), |key| api.with_key(key));
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = api.call(self.method.clone(), &self.path, &headers, self.body.clone()).await;
        answer.unwrap_or_else(|error| panic!("{}: no answer: {error:?}", self.what))
    }

    /// The status is the expected one and the body a problem that says so.
    pub fn judge(&self, answer: &Answer) {
        assert_eq!(answer.status, self.status, "{}: {}", self.what, answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{}", self.what);
        let problem = answer.json();
        assert_eq!(problem["status"], self.status, "{}", self.what);
        let kind = problem["type"].as_str().unwrap_or_default();
        assert!(kind.starts_with("urn:ringback:problem:"), "{}: {problem}", self.what);
        for field in ["title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{}: {problem}", self.what);
        }
        if self.status == 422 {
            let named = problem["errors"].as_array().is_some_and(|errors| !errors.is_empty());
            assert!(named, "{}: the wrong field is named: {problem}", self.what);
        }
    }
}

/// An endpoint that takes a JSON object.
pub struct Endpoint<'a> {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// A key that may call it.
    pub key: &'a str,
    /// A body that would be taken.
    pub valid: Value,
    /// The fields that can't be left out.
    pub required: &'a [&'a str],
}

impl Endpoint<'_> {
    fn case(&self, body: &Value, status: u16) -> Case {
        self.text_case(&body.to_string(), status)
    }

    fn text_case(&self, body: &str, status: u16) -> Case {
        Case::send_text(self.method.clone(), &self.path, Some(self.key), body, status)
    }

    /// What any endpoint with a body must refuse: no JSON, another type, unknown and missing
    /// fields, no key, a wrong key, another media type, too much.
    pub fn usual_cases(&self) -> Vec<Case> {
        let twice = format!("{0} {0}", self.valid);
        let mut cases: Vec<Case> =
            ["", "{", "nul", "\u{feff}{}", &twice].iter().map(|text| self.text_case(text, 400)).collect();
        cases.extend(["7", "\"text\""].iter().map(|text| self.text_case(text, 422)));
        cases.push(self.case(&with(&self.valid, "unheard_of", json!(1)), 422));
        cases.extend(self.required.iter().map(|field| self.case(&without(&self.valid, field), 422)));
        let valid = self.valid.to_string();
        let (method, path) = (|| self.method.clone(), self.path.as_str());
        cases.push(Case::send_text(method(), path, None, &valid, 401));
        cases.push(Case::send_text(method(), path, Some("no-such-key"), &valid, 401));
        cases.push(Case::bare(method(), path, Some(self.key), 415).with_header("content-type", "text/plain"));
        let large = with(&self.valid, "padding", json!("x".repeat(65 * 1024)));
        cases.push(self.case(&large, 413));
        cases
    }

    /// The valid body with one field's value replaced, each of them 422.
    pub fn wrong_values(&self, field: &str, values: impl IntoIterator<Item = Value>) -> Vec<Case> {
        values.into_iter().map(|value| self.case(&with(&self.valid, field, value), 422)).collect()
    }
}

/// Amounts that are no amount of money.
pub fn no_amounts() -> Vec<Value> {
    vec![
        json!(0),
        json!(-1),
        json!(1.5),
        json!(10_000_000_000_000_i64),
        json!(u64::MAX),
        json!(1e30),
        json!("100"),
        json!(true),
        json!([1]),
    ]
}

fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed[field] = value;
    changed
}

fn without(object: &Value, field: &str) -> Value {
    let mut changed = object.clone();
    changed.as_object_mut().expect("a body is an object").remove(field);
    changed
}
