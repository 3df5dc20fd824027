//! Holds an interface description to what clients rely on, and lists what it says for tests to try.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];
const PROBLEM: &str = "application/problem+json";

/// One operation of a description.
#[derive(Debug, Clone)]
pub struct Operation<'a> {
    /// In capital letters.
    pub method: String,
    /// With its parameters in braces.
    pub path: &'a str,
    /// The Operation Object.
    pub described: &'a Value,
}

/// The operations of `document`, without its webhooks.
pub fn operations(document: &Value) -> Vec<Operation<'_>> {
    operations_of(&document["paths"])
}

fn operations_of(paths: &Value) -> Vec<Operation<'_>> {
    let operations = members(paths).flat_map(|(path, item)| {
        let known = members(item).filter(|(method, _)| METHODS.contains(method));
        known.map(move |(method, described)| Operation { method: method.to_uppercase(), path, described })
    });
    operations.collect()
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, member)| (name.as_str(), member))
}

impl Operation<'_> {
    /// Its id.
    pub fn id(&self) -> &str {
        self.described["operationId"].as_str().unwrap_or_default()
    }

    /// Whether it needs a key.
    pub fn is_keyed(&self) -> bool {
        self.described["security"][0]["key"].is_array()
    }

    /// Its parameters at `place`: their names and descriptions.
    pub fn parameters(&self, place: &str) -> Vec<(&str, &Value)> {
        let all = self.described["parameters"].as_array().into_iter().flatten();
        let there = all.filter(|parameter| parameter["in"] == place);
        there.map(|parameter| (parameter["name"].as_str().unwrap_or_default(), parameter)).collect()
    }

    /// The example of its JSON body; `None` where it takes none.
    pub fn example<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        example_in(&self.described["requestBody"]["content"]["application/json"], document)
    }

    /// The example of the first body that is one component.
    fn any_example<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        let bodies = members(&self.described["requestBody"]["content"]);
        bodies.map(|(_, body)| body).find_map(|body| example_in(body, document))
    }

    /// Its path with values for its parameters.
    pub fn example_path(&self) -> String {
        self.parameters("path").iter().fold(self.path.to_owned(), |path, (name, parameter)| {
            let example = match (&parameter["example"], *name) {
                (Value::String(example), _) => example,
                (_, "account_no") => "6222021001",
                _ => "019b76da-a800-7000-8000-000000000001",
            };
            path.replace(&format!("{{{name}}}"), example)
        })
    }

    fn statuses(&self) -> BTreeSet<&str> {
        members(&self.described["responses"]).map(|(status, _)| status).collect()
    }
}

fn example_in<'a>(body: &Value, document: &'a Value) -> Option<&'a Value> {
    let component = resolve(document, body["schema"]["$ref"].as_str()?)?;
    Some(&component["example"])
}

fn resolve<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    document.pointer(reference.strip_prefix('#')?)
}

/// Every query parameter of `document` with an empty value: the method, the path with the query, and the
/// parameter that a refusal must name. What is required beside it has a value.
pub fn empty_parameters(document: &Value) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for operation in operations(document) {
        let parameters = operation.parameters("query");
        for (name, _) in &parameters {
            let required = parameters.iter().filter(|(other, it)| other != name && it["required"] == true);
            let beside = required.map(|(other, _)| format!("&{other}=order-1001"));
            let beside = beside.collect::<Vec<_>>().concat();
            let path = format!("{}?{name}={beside}", operation.example_path());
            all.push((operation.method.clone(), path, (*name).to_owned()));
        }
    }
    assert!(!all.is_empty(), "a description without query parameters");
    all
}

/// Panics unless clients can be made from `document`.
pub fn assert_sound(document: &Value) {
    assert_eq!(document["openapi"], "3.1.0");
    let webhooks = operations_of(&document["webhooks"]);
    let operations = operations(document);
    let mut ids = BTreeMap::new();
    for operation in operations.iter().chain(&webhooks) {
        let id = operation.id();
        let is_name = id.starts_with(|c: char| c.is_ascii_lowercase()) && id.contains(char::is_uppercase);
        assert!(is_name && id.chars().all(|c| c.is_ascii_alphanumeric()), "{operation:?}: {id}");
        let before = ids.insert(id, operation.path);
        assert!(before.is_none(), "{id} is the operation of {before:?} and {}", operation.path);
    }
    references_lead_to_components_that_are_used(document);
    for operation in &operations {
        assert!(operation.described["summary"].is_string(), "{operation:?}");
        what_is_sent_is_described(document, operation);
        what_is_answered_is_described(operation);
    }
}

fn references_lead_to_components_that_are_used(document: &Value) {
    let mut used = BTreeSet::new();
    references(document, &mut used);
    for reference in &used {
        assert!(resolve(document, reference).is_some(), "{reference} leads nowhere");
    }
    for (name, _) in members(&document["components"]["schemas"]) {
        assert!(used.contains(format!("#/components/schemas/{name}").as_str()), "nothing uses {name}");
    }
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn what_is_sent_is_described(document: &Value, operation: &Operation<'_>) {
    let body = &operation.described["requestBody"];
    if body.is_object() {
        let example = operation.any_example(document).unwrap_or(&Value::Null);
        assert!(example.is_object(), "{}: the body is a component with an example: {body}", operation.id());
        let answered = operation.statuses();
        for status in ["400", "408", "413", "415", "422"] {
            assert!(answered.contains(status), "{} has a body and no {status}", operation.id());
        }
    }
    let parameters = operation.described["parameters"].as_array().into_iter().flatten();
    for parameter in parameters {
        assert!(parameter["description"].is_string(), "{}: {parameter}", operation.id());
        assert!(!parameter["schema"].to_string().contains("null"), "{}: {parameter}", operation.id());
    }
    let is_filtered = !operation.parameters("query").is_empty();
    assert!(!is_filtered || operation.statuses().contains("400"), "{}", operation.id());
}

fn what_is_answered_is_described(operation: &Operation<'_>) {
    for (status, response) in members(&operation.described["responses"]) {
        let of = format!("{} {status}: {response}", operation.id());
        let content: Vec<_> = members(&response["content"]).collect();
        match content[..] {
            _ if status >= "400" => {
                assert_eq!(content.len(), 1, "{of}");
                let problem = &response["content"][PROBLEM]["schema"]["$ref"];
                assert_eq!(problem, "#/components/schemas/Problem", "{of}");
            }
            [("application/json", json)] => {
                let is_shared = json["schema"]["$ref"].is_string();
                assert!(is_shared || operation.id() == "getDescription", "{of}");
            }
            [("text/plain", _)] | [] => {}
            _ => panic!("{of}"),
        }
    }
    if operation.path.starts_with("/v1/") {
        let statuses = operation.statuses();
        assert!(statuses.contains("500") && statuses.contains("503"), "{}: {statuses:?}", operation.id());
        assert!(!operation.is_keyed() || statuses.contains("401"), "{}: {statuses:?}", operation.id());
    }
}
