//! Names with several addresses: each is tried.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvcli::{Client, ClientOptions, ReadMode, Resolver};
use tonic::Code;

use crate::fake::{Fake, Step};

/// Fakes on one port of several addresses of this machine, as one name finds them.
async fn neighbours(count: u8) -> Vec<Fake> {
    let first = Fake::start().await;
    let port = first.address.rsplit_once(':').unwrap().1.to_owned();
    let mut fakes = vec![first];
    for last in 2..=count {
        fakes.push(Fake::start_at(&format!("127.0.0.{last}:{port}")).await);
    }
    fakes
}

/// A client of one name, and how often that has been looked up.
fn client(fakes: &[Fake]) -> (Client, Arc<AtomicUsize>) {
    let sockets: Vec<SocketAddr> = fakes.iter().map(|fake| fake.address.parse().unwrap()).collect();
    let name = format!("nodes.test:{}", sockets[0].port());
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lookups);
    let resolver = Resolver::new(move |endpoint| {
        assert!(endpoint.as_str().starts_with("nodes.test:"));
        counted.fetch_add(1, Ordering::Relaxed);
        let sockets = sockets.clone();
        async move { Ok(sockets) }
    });
    let timeout = Duration::from_millis(900);
    let options = ClientOptions { resolver, timeout, ..ClientOptions::default() };
    (Client::connect([name], options).unwrap(), lookups)
}

/// Found: a name whose first address accepts connections and never answers was tried there only.
#[tokio::test]
async fn every_address_is_tried_also_when_the_first_are_frozen() {
    let fakes = neighbours(3).await;
    fakes[0].always(Step::Hang);
    fakes[1].always(Step::Hang);
    let (client, lookups) = client(&fakes);
    client.put("k", "v").await.unwrap();
    // The address that answered is tried first from now on.
    client.put("k", "v").await.unwrap();
    assert_eq!(fakes.iter().map(|fake| fake.seen().len()).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(lookups.load(Ordering::Relaxed), 1);
    // Nodes are told the name, not the address.
    assert!(fakes[2].seen().iter().all(|seen| seen.authority.starts_with("nodes.test:")));
}

/// Behind one name there may be several nodes.
#[tokio::test]
async fn an_address_that_does_not_serve_is_not_the_name() {
    let fakes = neighbours(3).await;
    fakes[0].always(Step::Fail(Code::Unavailable, None));
    fakes[1].always(Step::Fail(Code::DataLoss, None));
    let (client, _lookups) = client(&fakes);
    client.put("k", "v").await.unwrap();
    client.get("k", ReadMode::Stale).await.unwrap();
    assert_eq!(fakes.iter().map(|fake| fake.seen().len()).collect::<Vec<_>>(), [1, 1, 2]);
}

#[tokio::test]
async fn a_name_is_looked_up_again_when_no_address_answers() {
    let fakes = neighbours(2).await;
    for fake in &fakes {
        fake.with(|state| state.frozen = true);
    }
    let (client, lookups) = client(&fakes);
    client.put("k", "v").await.unwrap_err();
    assert_eq!(lookups.load(Ordering::Relaxed), 1);
    for fake in &fakes {
        fake.with(|state| state.frozen = false);
    }
    client.put("k", "v").await.unwrap();
    assert_eq!(lookups.load(Ordering::Relaxed), 2);
}
