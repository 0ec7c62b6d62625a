//! Messages that carry many requests, with a bound that holds while they are decoded.
//!
//! Two bytes on the wire are an empty operation, and some 200 bytes once decoded: without the bound
//! a message of the greatest size would become hundreds of megabytes.

/// Requests in one message.
pub const MAX_REQUESTS_PER_MESSAGE: usize = 1024;

/// A message with one repeated field, number 1.
#[cfg(any(feature = "kv", feature = "node"))]
macro_rules! bounded {
    ($(#[$doc:meta])* $message:ident { $field:ident: $item:ty }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $message {
            /// In the order in which they are begun.
            pub $field: Vec<$item>,
        }

        impl prost::Message for $message {
            fn encode_raw(&self, buf: &mut impl prost::bytes::BufMut) {
                prost::encoding::message::encode_repeated(1, &self.$field, buf);
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: prost::encoding::wire_type::WireType,
                buf: &mut impl prost::bytes::Buf,
                context: prost::encoding::DecodeContext,
            ) -> Result<(), prost::DecodeError> {
                if tag != 1 {
                    return prost::encoding::skip_field(wire_type, tag, buf, context);
                }
                if self.$field.len() >= $crate::MAX_REQUESTS_PER_MESSAGE {
                    return Err($crate::bounded::too_many());
                }
                prost::encoding::message::merge_repeated(wire_type, &mut self.$field, buf, context)
            }

            fn encoded_len(&self) -> usize {
                prost::encoding::message::encoded_len_repeated(1, &self.$field)
            }

            fn clear(&mut self) {
                self.$field.clear();
            }
        }
    };
}
#[cfg(any(feature = "kv", feature = "node"))]
pub(crate) use bounded;

#[cfg(any(feature = "kv", feature = "node"))]
#[allow(deprecated, reason = "the one way to make such an error")]
pub(crate) fn too_many() -> prost::DecodeError {
    prost::DecodeError::new("more than 1024 requests in a message")
}

#[cfg(all(test, feature = "kv"))]
mod tests {
    use prost::Message as _;

    use super::MAX_REQUESTS_PER_MESSAGE;
    use crate::kv::v1::{Operation, SessionRequest};

    #[test]
    fn a_message_has_no_more_requests_than_its_bound() {
        let message = |count| SessionRequest { operations: vec![Operation::default(); count] };
        let full = message(MAX_REQUESTS_PER_MESSAGE);
        let bytes = full.encode_to_vec();
        assert_eq!(bytes.len(), full.encoded_len());
        assert_eq!(SessionRequest::decode(&*bytes).unwrap(), full);
        SessionRequest::decode(&*message(MAX_REQUESTS_PER_MESSAGE + 1).encode_to_vec()).unwrap_err();
        // A field that a later version may have.
        let unknown = [&bytes[..], &[0x10, 7]].concat();
        assert_eq!(SessionRequest::decode(&*unknown).unwrap(), full);
    }
}
