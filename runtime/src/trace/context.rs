//! The W3C trace context (<https://www.w3.org/TR/trace-context/>), version 00.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

const SAMPLED: u8 = 0b01;
/// The flags that version 00 and its second level define; the others are not passed on.
const KNOWN_FLAGS: u8 = 0b11;

/// A place in a trace: whatever happens because of it is its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
    derived: bool,
}

impl TraceContext {
    /// The context that `traceparent` tells; where it tells none, one made of the event's id, the
    /// same wherever and however often it is asked for, so that all that happens to one event is one
    /// trace. Such a one is not sampled.
    pub fn of_event(traceparent: Option<&str>, event_id: &str) -> Self {
        traceparent.and_then(Self::parse).unwrap_or_else(|| {
            let (trace, span) = ids(&[event_id.as_bytes()]);
            Self { trace, span, flags: 0, derived: true }
        })
    }

    /// Reads `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (trace, span) = (number(trace, 32)?, u64::try_from(number(span, 16)?).ok()?);
        let flags = u8::try_from(number(flags, 2)?).ok()? & KNOWN_FLAGS;
        let valid = version == "00" && parts.next().is_none() && trace != 0 && span != 0;
        valid.then_some(Self { trace, span, flags, derived: false })
    }

    /// A context below this one, in the same trace and sampled alike. Its span's id is made of
    /// `parts`: whoever gives the same gets the same, so they must be as many as to be unique.
    #[must_use]
    pub fn child(&self, parts: &[&[u8]]) -> Self {
        let own: [&[u8]; 2] = [&self.trace.to_be_bytes(), &self.span.to_be_bytes()];
        let (_, span) = ids(&[&own, parts].concat());
        Self { span, derived: false, ..*self }
    }

    /// Whether spans of this trace are kept.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Whether it was made of an event's id, so that nobody has decided about sampling yet and no
    /// span lies above the first.
    pub fn is_derived(&self) -> bool {
        self.derived
    }

    /// The same context, sampled.
    #[must_use]
    pub fn sampled(self) -> Self {
        Self { flags: self.flags | SAMPLED, ..self }
    }

    /// The trace's id.
    pub fn trace_id(&self) -> u128 {
        self.trace
    }

    /// The span's id.
    pub fn span_id(&self) -> u64 {
        self.span
    }
}

/// As the header `traceparent` carries it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// The number that exactly so many lower-case hexadecimal digits write.
fn number(hex: &str, digits: usize) -> Option<u128> {
    let lower = hex.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
    if lower && hex.len() == digits { u128::from_str_radix(hex, 16).ok() } else { None }
}

/// Ids of a trace and a span, made of `parts`, each with its length. No id may be zero.
fn ids(parts: &[&[u8]]) -> (u128, u64) {
    let mut input = Vec::new();
    for part in parts {
        input.extend_from_slice(&(part.len() as u64).to_be_bytes());
        input.extend_from_slice(part);
    }
    let hash = digest(&SHA256, &input);
    let (trace, span) = hash.as_ref().split_at(16);
    let trace = u128::from_be_bytes(trace.try_into().expect("16 of 32 bytes"));
    let span = u64::from_be_bytes(span[..8].try_into().expect("8 of 16 bytes"));
    (trace.max(1), span.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_child_is_of_the_same_trace_has_an_id_of_its_own_and_is_sampled_alike() {
        let given = TraceContext::of_event(Some(GIVEN), "evt");
        assert_eq!(given.to_string(), GIVEN);
        let [one, again, other] = [b"1", b"1", b"2"].map(|part| given.child(&[part]));
        assert_eq!((one, one.trace_id()), (again, given.trace_id()));
        assert!(one.span_id() != given.span_id() && one.span_id() != other.span_id());
        assert!(one.is_sampled() && !one.is_derived());
        let unsampled = TraceContext::parse(&GIVEN.replace("-01", "-00")).expect("well-formed");
        assert!(!unsampled.child(&[]).is_sampled());
    }

    #[test]
    fn without_a_well_formed_one_an_event_has_the_same_new_one_every_time() {
        let made = TraceContext::of_event(None, "evt");
        assert!(made.is_derived() && !made.is_sampled());
        assert!(made.sampled().is_sampled());
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let upper = GIVEN.to_uppercase();
        let longer = format!("{GIVEN}-00");
        for nonsense in ["", "00-0-0-0", zeros, "a\r\nb", &upper, &longer, &GIVEN.replace("00-0a", "ff-0a")] {
            assert_eq!(TraceContext::of_event(Some(nonsense), "evt"), made, "{nonsense:?}");
        }
        assert_ne!(TraceContext::of_event(None, "other").trace_id(), made.trace_id());
    }

    #[test]
    fn flags_that_nobody_has_defined_are_not_passed_on() {
        let odd = TraceContext::parse(&GIVEN.replace("-01", "-ff")).expect("well-formed");
        assert!(odd.to_string().ends_with("-03"));
    }
}
