//! Whether two JSON texts are the same content in another spelling.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What is nested deeper is compared as text, so that no text takes more of the stack or of the time.
const MAX_DEPTH: usize = 64;

/// Whether `one` and `other` differ at most in white space, in the order of members and in how characters of
/// strings are escaped. Numbers are compared as they are written: `1.0` is not `1`, and no digit is rounded.
pub fn is_same(one: &str, other: &str) -> bool {
    is_same_to(MAX_DEPTH, one.trim(), other.trim())
}

fn is_same_to(depth: usize, one: &str, other: &str) -> bool {
    if one == other || depth == 0 {
        return one == other;
    }
    let same = match (one.as_bytes().first(), other.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => objects(depth, one, other),
        (Some(b'['), Some(b'[')) => arrays(depth, one, other),
        (Some(b'"'), Some(b'"')) => strings(one, other),
        _ => Ok(false),
    };
    same.unwrap_or(false)
}

fn objects(depth: usize, one: &str, other: &str) -> serde_json::Result<bool> {
    let (one, other) = (members(one)?, members(other)?);
    let mut pairs = one.iter().zip(&other);
    Ok(one.len() == other.len()
        && pairs.all(|(one, other)| one.0 == other.0 && is_same_to(depth - 1, one.1.get(), other.1.get())))
}

fn arrays(depth: usize, one: &str, other: &str) -> serde_json::Result<bool> {
    let one: Vec<&RawValue> = serde_json::from_str(one)?;
    let other: Vec<&RawValue> = serde_json::from_str(other)?;
    let mut pairs = one.iter().zip(&other);
    Ok(one.len() == other.len() && pairs.all(|(one, other)| is_same_to(depth - 1, one.get(), other.get())))
}

fn strings(one: &str, other: &str) -> serde_json::Result<bool> {
    Ok(serde_json::from_str::<Cow<'_, str>>(one)? == serde_json::from_str::<Cow<'_, str>>(other)?)
}

type Member<'a> = (String, &'a RawValue);

/// The members of an object, by name; those of one name in their order.
fn members(object: &str) -> serde_json::Result<Vec<Member<'_>>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<Member<'de>>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut members = serde_json::Deserializer::from_str(object).deserialize_map(Members)?;
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_the_order_of_members_and_escapes_make_no_other_content() {
        for (one, other) in [
            (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true,\n null ], \"a\" : 1 }"),
            (r#"[{"a":{"x":1,"y":2}}]"#, r#"[{"a":{"y":2,"x":1}}]"#),
            (r#""\u0041\/""#, r#""A/""#),
        ] {
            assert!(is_same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn another_value_number_order_or_repeated_member_is_another_content() {
        for (one, other) in [
            ("1.0", "1"),
            ("1e2", "100"),
            ("123456789012345678901234567890", "123456789012345678901234567891"),
            (r#"{"amount":0.1}"#, r#"{"amount":0.1000000000000000000001}"#),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#"{"a":1}"#, r#"{"a":2,"a":1}"#),
            (r#"{"a":null}"#, "{}"),
            (r#""1""#, "1"),
        ] {
            assert!(!is_same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn however_deep_texts_are_nested_they_are_compared_in_bounded_space() {
        let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(is_same(&nested("1"), &nested("1")));
        assert!(!is_same(&nested("1"), &nested(" 1")));
    }
}
