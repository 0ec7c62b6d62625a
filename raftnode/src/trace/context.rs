//! Which trace a request belongs to: the `traceparent` of W3C Trace Context.
//!
//! The caller's header is taken if it is well formed, otherwise this node starts a trace, so that
//! every request has an id. Nothing but these 55 bytes is read of it, and nothing in it is trusted
//! for more than a name.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// The header's name, on both sides.
const TRACEPARENT: &str = "traceparent";
/// `00-` 32 digits `-` 16 digits `-` 2 digits.
const TRACEPARENT_BYTES: usize = 55;
/// The only flag that we know: the caller records this trace.
const SAMPLED: u8 = 1;

/// A trace: the same from the client to the last node. Not all zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// One step of a trace. Not all zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// A request's place in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace: TraceId,
    /// The step that called, if it said so.
    pub(crate) parent: Option<SpanId>,
    /// The step that is this request on this node.
    pub(crate) span: SpanId,
    /// Whether spans are to be recorded: as the caller does; if there is none, yes.
    pub(crate) sampled: bool,
}

impl TraceContext {
    /// Continues the caller's trace, or starts one.
    pub(crate) fn of(metadata: &MetadataMap) -> Self {
        let caller = metadata.get(TRACEPARENT).and_then(|header| parse(header.as_encoded_bytes()));
        let span = SpanId::random();
        match caller {
            Some((trace, parent, flags)) => {
                Self { trace, parent: Some(parent), span, sampled: flags & SAMPLED != 0 }
            }
            None => Self { trace: TraceId::random(), parent: None, span, sampled: true },
        }
    }

    /// The same of the bytes that a request of a stream has: the trace, and the caller's step.
    pub(crate) fn of_bytes(caller: &[u8]) -> Self {
        let parts = caller.split_first_chunk::<16>();
        let named = parts.and_then(|(trace, parent)| Some((*trace, <[u8; 8]>::try_from(parent).ok()?)));
        let named = named.filter(|(trace, parent)| *trace != [0; 16] && *parent != [0; 8]);
        let span = SpanId::random();
        match named {
            Some((trace, parent)) => {
                Self { trace: TraceId(trace), parent: Some(SpanId(parent)), span, sampled: true }
            }
            None => Self { trace: TraceId::random(), parent: None, span, sampled: true },
        }
    }

    /// What the next node's [`of_bytes`](Self::of_bytes) reads.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from([&self.trace.0[..], &self.span.0[..]].concat())
    }

    /// A step within this one.
    pub(crate) fn child(&self) -> Self {
        Self { parent: Some(self.span), span: SpanId::random(), ..*self }
    }

    /// Tells the node that is called next.
    pub(crate) fn send(&self, metadata: &mut MetadataMap) {
        if let Some(header) = self.header() {
            metadata.insert(TRACEPARENT, header);
        }
    }

    /// Digits and dashes are always a valid value.
    fn header(&self) -> Option<MetadataValue<Ascii>> {
        let flags = if self.sampled { SAMPLED } else { 0 };
        let mut text = String::with_capacity(TRACEPARENT_BYTES);
        write!(text, "00-{}-{}-{flags:02x}", self.trace, self.span).ok()?;
        text.parse().ok()
    }
}

impl TraceId {
    fn random() -> Self {
        // Zero stands for no id; it comes once in 2^128.
        Self(rand::random::<u128>().max(1).to_be_bytes())
    }

    /// The bytes, as on the wire of OTLP.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl SpanId {
    fn random() -> Self {
        Self(rand::random::<u64>().max(1).to_be_bytes())
    }

    /// The bytes, as on the wire of OTLP.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Lower-case digits only, as the standard has it. Later versions may append fields behind a dash.
fn parse(header: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let (known, rest) = header.split_at_checked(TRACEPARENT_BYTES)?;
    let mut parts = known.split(|b| *b == b'-');
    let [version] = digits::<1>(parts.next()?)?;
    let trace = digits::<16>(parts.next()?)?;
    let parent = digits::<8>(parts.next()?)?;
    let [flags] = digits::<1>(parts.next()?)?;
    let fits = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.first().is_none_or(|b| *b == b'-'),
    };
    let named = trace != [0; 16] && parent != [0; 8];
    (fits && named && parts.next().is_none()).then_some((TraceId(trace), SpanId(parent), flags))
}

fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(header: &str) -> TraceContext {
        let mut metadata = MetadataMap::new();
        metadata.insert(TRACEPARENT, header.parse().unwrap());
        TraceContext::of(&metadata)
    }

    #[test]
    fn a_trace_goes_on_under_its_id() {
        let first = of(GOOD);
        assert_eq!(first.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(first.parent.unwrap().to_string(), "00f067aa0ba902b7");
        let mut metadata = MetadataMap::new();
        first.send(&mut metadata);
        let next = TraceContext::of(&metadata);
        assert_eq!((next.trace, next.parent, next.sampled), (first.trace, Some(first.span), true));
        assert!(!of(&GOOD.replace("-01", "-00")).sampled);
        assert_eq!(of(&format!("cc{}-later", &GOOD[2..])).trace, first.trace);
    }

    #[test]
    fn nonsense_starts_a_new_trace() {
        let zeros = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"]
            .map(|id| GOOD.replace(id, &"0".repeat(id.len())));
        let bad = [
            "",
            "00",
            &GOOD[..54],
            &GOOD.to_uppercase(),
            &GOOD.replace("00-4", "ff-4"),
            &GOOD.replace('-', "_"),
            &GOOD.replace("4bf9", "4bg9"),
            &GOOD.replace("4736-00", "473-600"),
            &format!("{GOOD}-more"),
            &format!("cc{}x", &GOOD[2..]),
            &zeros[0],
            &zeros[1],
            &"0".repeat(8000),
            &"-".repeat(55),
        ];
        for header in bad {
            let context = of(header);
            assert_eq!(context.parent, None, "{header}");
            assert_ne!(context.trace, of(header).trace);
        }
        let mut binary = MetadataMap::new();
        binary.insert(TRACEPARENT, MetadataValue::try_from(&b"00-\xff\xfe"[..]).unwrap());
        assert_eq!(TraceContext::of(&binary).parent, None);
    }
}
