//! Types that are encoded well and cannot be read back.

use std::marker::PhantomData;

use raftnode::testing::{Failed, Subject};
use raftnode::{Application, At, StorageError, Transaction, View};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::support::verdict;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Push { item: String },
}

fn push() -> Tagged {
    Tagged::Push { item: "bread".to_owned() }
}

/// Counts; its types are to be chosen.
struct Types<C, R, A>(PhantomData<fn() -> C>, fn() -> R, fn() -> A);

impl<C, R, A> Application for Types<C, R, A>
where
    C: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    A: Serialize + DeserializeOwned + Send + 'static,
{
    const SCHEMA: u32 = 1;
    type Command = C;
    type Response = R;
    type Query = ();
    type Answer = A;

    fn apply(&self, txn: &mut Transaction<'_, '_>, at: At, _: C) -> Result<R, StorageError> {
        txn.store(b"count", &at.position)?;
        Ok((self.1)())
    }

    fn query(&self, _: &mut View<'_, '_>, (): ()) -> Result<A, StorageError> {
        Ok((self.2)())
    }
}

fn failure<C, R, A>(command: fn() -> C, response: fn() -> R, answer: fn() -> A) -> String
where
    C: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
    A: Serialize + DeserializeOwned + Send + 'static,
{
    let application = move || Types(PhantomData::<fn() -> C>, response, answer);
    let subject = Subject::new(application, move |_, _| command()).queries(|_, _| ());
    let failed = verdict(&subject).unwrap_err();
    assert!(!matches!(failed, Failed::Vacuous(_)), "{failed}");
    failed.to_string()
}

#[test]
fn a_tagged_command_is_caught() {
    let text = failure(push, || (), || ());
    assert!(text.contains("a command is no good") && text.contains("serde's `tag`"), "{text}");
}

#[test]
fn a_tagged_response_is_caught() {
    let text = failure(|| (), push, || ());
    assert!(text.contains("a response cannot be read back") && text.contains("serde's `tag`"), "{text}");
}

#[test]
fn a_tagged_answer_is_caught() {
    let text = failure(|| (), || (), push);
    assert!(text.contains("an answer cannot be read back") && text.contains("serde's `tag`"), "{text}");
}
