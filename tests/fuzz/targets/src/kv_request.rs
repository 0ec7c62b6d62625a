//! What clients and nodes that forward send: messages of any bytes, and of those of clients the
//! commands that go into the log.

use std::fmt::Debug;

use kvnode::testing::{admit_delete, admit_put, admit_scan};
use kvnode::{Command, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use prost::Message;
use proto::MAX_REQUESTS_PER_MESSAGE;
use proto::kv::v1 as kv;
use proto::node::v1 as node;

/// Most bytes that the log keeps of a command besides its key and value.
const MAX_OVERHEAD_BYTES: usize = 64;

/// Any bytes as any request: refused, or within the limits that the README names.
pub fn kv_request(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 6 {
        0 => put(bytes),
        1 => delete(bytes),
        2 => drop(decoded::<kv::GetRequest>(bytes)),
        3 => scan(bytes),
        4 => {
            let request = decoded::<kv::SessionRequest>(bytes);
            assert!(request.is_none_or(|r| r.operations.len() <= MAX_REQUESTS_PER_MESSAGE));
        }
        _ => {
            let request = decoded::<node::ForwardRequest>(bytes);
            assert!(request.is_none_or(|r| r.requests.len() <= MAX_REQUESTS_PER_MESSAGE));
        }
    }
}

/// The message, if it is one, and the same after another way over the wire.
fn decoded<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(message.encode_to_vec().as_slice()).expect("what was encoded can be decoded");
    assert_eq!(message, again);
    Some(message)
}

fn put(bytes: &[u8]) {
    let Some(request) = decoded::<kv::PutRequest>(bytes) else { return };
    let fits = (1..=MAX_KEY_BYTES).contains(&request.key.len()) && request.value.len() <= MAX_VALUE_BYTES;
    let admitted = admit_put(request.clone());
    assert_eq!(admitted.is_ok(), fits && is_name(request.request_id.as_ref()), "{admitted:?}");
    let Ok(command) = admitted else { return };
    let Command::Put { key, value, .. } = &command else { panic!("{command:?}") };
    assert_eq!((key, value), (&request.key, &request.value));
    goes_into_the_log(&command, key.len() + value.len());
}

fn delete(bytes: &[u8]) {
    let Some(request) = decoded::<kv::DeleteRequest>(bytes) else { return };
    let fits = (1..=MAX_KEY_BYTES).contains(&request.key.len());
    let admitted = admit_delete(request.clone());
    assert_eq!(admitted.is_ok(), fits && is_name(request.request_id.as_ref()), "{admitted:?}");
    if let Ok(command) = admitted {
        goes_into_the_log(&command, request.key.len());
    }
}

/// None, or sixteen bytes and a positive number.
fn is_name(id: Option<&kv::RequestId>) -> bool {
    id.is_none_or(|id| id.client_id.len() == 16 && id.sequence > 0)
}

fn goes_into_the_log(command: &Command, content_bytes: usize) {
    let bytes = codec::encode(command).unwrap();
    assert!(bytes.len() <= content_bytes + MAX_OVERHEAD_BYTES, "{} bytes", bytes.len());
    assert_eq!(&codec::decode::<Command>(&bytes).unwrap(), command);
}

fn scan(bytes: &[u8]) {
    let Some(request) = decoded::<kv::ScanRequest>(bytes) else { return };
    assert_eq!(admit_scan(&request).is_ok(), request.prefix.len() <= MAX_KEY_BYTES);
}
