//! Reading requests. Every refusal is a problem that names what is wrong.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::BODY_LIMIT;
use crate::problem::Problem;
use crate::repeated;
use crate::validation::Invalid;

/// A JSON body; also the JSON answer.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type());
        }
        let body = body(request, state).await?;
        parse(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A JSON body that may be left out altogether.
#[derive(Debug, Clone, Copy)]
pub struct OptionalJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let said_to_be_json = is_json(request.headers());
        let body = body(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        if said_to_be_json { parse(&body).map(Self) } else { Err(Problem::unsupported_media_type()) }
    }
}

/// How long a caller may take to send a body; shorter than a request may take as a whole.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Reads the whole body, at most [`BODY_LIMIT`] bytes; 408 when it takes too long to arrive.
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    body_up_to(BODY_LIMIT, request, state).await
}

/// The same at an endpoint of larger bodies, of at most `limit` bytes.
pub async fn body_up_to<S: Send + Sync>(limit: usize, request: Request, state: &S) -> Result<Bytes, Problem> {
    let body = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
    body.map_err(|_| Problem::request_timeout())?.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(limit),
        _ => Problem::malformed_json("the body could not be read to its end"),
    })
}

/// Parses JSON: 400 when it is not well-formed, 422 naming the field when it is not a `T`.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut deserializer);
    // What is not well-formed may show only after the first wrong field, and serde calls some wrong
    // values bad syntax, so a second look at the whole body tells the one from the other.
    let text = std::str::from_utf8(body).map_err(|error| Problem::malformed_json(error.to_string()))?;
    if let Err(malformed) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(Problem::malformed_json(malformed.to_string()));
    }
    // serde would read a list as the fields in their order.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Problem::invalid(Invalid::field("body", "must be a JSON object")));
    }
    parsed.map_err(|error| {
        let path = error.path().to_string();
        Problem::invalid(wrong_field(&path, &error.into_inner().to_string()))
    })
}

/// Reads a value of well-formed JSON; names the field that is wrong.
pub fn fields<T: DeserializeOwned>(json: &str) -> Result<T, Invalid> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| wrong_field(&error.path().to_string(), &error.into_inner().to_string()))
}

/// serde says `missing field `amount` at line 1 column 2` with the path of the object around it.
fn wrong_field(path: &str, message: &str) -> Invalid {
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
    let names_field = ["missing field `", "unknown field `", "duplicate field `"];
    let named = names_field
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split_once('`'))
        .map(|(name, _)| name);
    let field = match (path, named) {
        (".", Some(name)) => name.to_owned(),
        (_, Some(name)) if path.ends_with(name) => path.to_owned(),
        (_, Some(name)) => format!("{path}.{name}"),
        (".", None) => "body".to_owned(),
        (path, None) => path.to_owned(),
    };
    Invalid::field(repeated::name(&field), repeated::reason(message))
}

/// Whether the body is said to be JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The query string; 400 naming the parameter when it can't be read. Let `T` deny unknown fields.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read_query(&parts.uri).map(Self)
    }
}

/// Names the parameters of a query that hold several words.
pub trait Lists {
    /// Their names.
    const LISTS: &'static [&'static str];
}

/// The query string, where those parameters may come several times: `state=pending&state=held` is
/// `state=pending,held`, which is what clients that are made from the interface description send.
#[derive(Debug, Clone, Copy)]
pub struct ListQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Lists> FromRequestParts<S> for ListQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let joined = format!("/?{}", join(parts.uri.query().unwrap_or_default(), T::LISTS));
        read_query(&joined.parse().expect("parts of a URI in another order")).map(Self)
    }
}

fn join(query: &str, lists: &[&str]) -> String {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match pairs.iter_mut().find(|(known, _)| *known == name && lists.contains(&name)) {
            Some((_, earlier)) => *earlier = format!("{earlier},{value}"),
            None => pairs.push((name, pair.to_owned())),
        }
    }
    pairs.into_iter().map(|(_, pair)| pair).collect::<Vec<_>>().join("&")
}

fn read_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    without_nul(uri.query().unwrap_or_default()).map_err(Problem::malformed_query)?;
    let query = axum::extract::Query::<T>::try_from_uri(uri);
    query.map(|axum::extract::Query(value)| value).map_err(|rejection| {
        let text = rejection.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        Problem::malformed_query(wrong_parameter(text))
    })
}

/// NUL is the one character that a Postgres text can't hold, so nothing stored has it.
fn without_nul(query: &str) -> Result<(), Invalid> {
    let Some(pair) = query.split('&').find(|pair| pair.contains("%00")) else { return Ok(()) };
    let name = pair.split_once('=').map_or("query", |(name, _)| name);
    Err(Invalid::field(repeated::name(name), "must not contain the NUL character"))
}

/// The text is `limit: invalid digit found in string`, or ``x: unknown field `x`, expected …`` where `x` is
/// whatever the caller wrote.
fn wrong_parameter(text: &str) -> Invalid {
    let unknown = text.find(": unknown field `").map(|end| (&text[..end], &text[end + 2..]));
    let known = || text.split_once(": ").filter(|(field, _)| !field.contains(' '));
    let (field, message) =
        unknown.or_else(known).unwrap_or_else(|| (text.split('`').nth(1).unwrap_or("query"), text));
    Invalid::field(repeated::name(field), repeated::reason(message))
}

/// A path parameter; 404 when it can't name anything.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Problem::not_found("the id in the path is not of the right form, so nothing has it"))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body as HttpBody;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only parsed")]
        amount: u64,
    }

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMVmkpLs9IMKJ9dB";

    /// Bodies and queries with a secret, and something very long, in every place that is read.
    #[tokio::test]
    async fn a_refusal_repeats_nothing_long_and_no_secret() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only parsed")]
        struct Whole {
            amount: Option<u64>,
            wait: Option<crate::duration::HumanDuration>,
            headers: Option<std::collections::HashMap<String, u8>>,
            word: Option<Word>,
            from: Option<crate::http::Timestamp>,
        }
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Word {
            On,
        }
        let long = "x".repeat(20_000);
        let places = ["amount", "wait", "word", "from"];
        for text in [SECRET, "quoted\\\", expected whsec_C2FVsBQ", &*long] {
            let mut bodies: Vec<_> =
                places.iter().map(|field| format!(r#"{{"{field}": "{text}"}}"#)).collect();
            bodies.extend([
                format!(r#"{{"{text}": 1}}"#),
                format!(r#"{{"headers": "{text}"}}"#),
                format!(r#"{{"headers": {{"{text}": "{text}"}}}}"#),
                format!(r#"{{"headers": ["{text}"]}}"#),
                format!(r#"{{"wait": {{"{text}": "{text}"}}}}"#),
                format!(r#"{{"amount": 1, "amount": "{text}"}}"#),
                text.to_owned(),
                format!(r#""{text}""#),
            ]);
            let mut problems: Vec<Problem> = Vec::new();
            for body in &bodies {
                problems.push(parse::<Whole>(body.as_bytes()).expect_err(body));
            }
            let encoded = text.replace(['\\', '"', ' '], "%20");
            for query in
                places.iter().map(|field| format!("{field}={encoded}")).chain([format!("{encoded}=1")])
            {
                let request = Request::builder().uri(format!("/?{query}")).body(HttpBody::empty());
                let (mut parts, _) = request.expect("a request").into_parts();
                problems.push(Query::<Whole>::from_request_parts(&mut parts, &()).await.expect_err(&query));
            }
            for problem in problems {
                let told = serde_json::to_string(&problem).expect("serializable");
                assert!(told.len() < 2_000 && !told.contains("C2FVsBQ"), "{told}");
            }
        }
    }

    #[tokio::test]
    async fn a_query_with_what_no_database_text_can_hold_answers_400_and_names_the_parameter() {
        let request = Request::builder().uri("/?limit=1&subject=a%00b").body(HttpBody::empty());
        let (mut parts, _) = request.expect("a request").into_parts();
        let read = Query::<std::collections::HashMap<String, String>>::from_request_parts(&mut parts, &());
        let problem = serde_json::to_value(read.await.expect_err("refused")).expect("serializable");
        assert_eq!(problem["status"], 400);
        assert_eq!(problem["errors"][0]["field"], "subject");
    }

    #[test]
    fn a_list_may_come_in_one_parameter_or_in_several() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Filter {
            state: String,
            limit: Option<u16>,
        }
        let read = |query: &str| {
            let joined = join(query, &["state"]);
            read_query::<Filter>(&format!("/?{joined}").parse().expect("a URI"))
        };
        for query in ["state=a,b&limit=1", "state=a&limit=1&state=b", "limit=1&state=a&state=b"] {
            let filter = read(query).expect(query);
            assert_eq!((filter.state.as_str(), filter.limit), ("a,b", Some(1)), "{query}");
        }
        assert_eq!(read("state=&state=a").expect("read").state, ",a");
        assert!(read("state=a&limit=1&limit=2").is_err(), "only lists may come several times");
    }

    fn problem(text: &str) -> serde_json::Value {
        let problem = parse::<Body>(text.as_bytes()).expect_err(text);
        serde_json::to_value(problem).expect("serializable")
    }

    #[test]
    fn text_that_is_no_json_answers_400() {
        for text in ["", "{", "{\"amount\":1}x", "\u{0}", "{\"tip\":", "{\"amount\":\"1\"} {}"] {
            assert_eq!(problem(text)["status"], 400, "{text:?}");
        }
        let latin_1 = parse::<Body>(b"{\"amount\":\"\xE9\"}").expect_err("JSON is UTF-8");
        assert_eq!(latin_1.status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_wrong_missing_or_unknown_field_answers_422_and_is_named() {
        for (text, field) in [
            ("{}", "amount"),
            ("{\"amount\":1.5}", "amount"),
            ("{\"amount\":\"1\"}", "amount"),
            ("{\"amount\":-1}", "amount"),
            ("{\"amount\":1,\"tip\":2}", "tip"),
            ("[]", "body"),
            ("[1]", "body"),
            ("7", "body"),
        ] {
            let problem = problem(text);
            assert_eq!(problem["status"], 422, "{text}");
            assert_eq!(problem["errors"][0]["field"], field, "{text}");
        }
    }
}
