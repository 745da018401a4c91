//! The records of the four queues. The first byte chooses which; the rest is what a damaged ring might hold.

use kazoo::bus::Delivery;
use kazoo::bus::ack::AckRecord;
use kazoo::bus::command::{Body, Command};
use kazoo::bus::fragment::Joiner;
use kazoo::bus::reply::Outcome;
use kazoo::bus::resume::Resume;

/// Largest message that is joined from fragments.
const LIMIT: usize = 64;

pub fn fuzz(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 5 {
        0 => command(bytes),
        1 => delivery(bytes),
        2 => reply(bytes),
        3 => ack(bytes),
        _ => fragments(bytes),
    }
}

fn command(bytes: &[u8]) {
    let Some(command) = Command::decode(bytes) else { return };
    let mut again = Vec::new();
    command.encode_head(&mut again);
    if let Body::Inline(body) = command.body {
        again.extend_from_slice(body);
        let mut wire = Vec::new();
        if command.splice.apply(body, b"server", &mut wire).is_ok() {
            assert!(wire.len() <= body.len() + 32);
        }
    }
    let back = Command::decode(&again).expect("a command comes back");
    assert_eq!(format!("{back:?}"), format!("{command:?}"));
}

fn delivery(bytes: &[u8]) {
    if Resume::is_in(bytes) {
        resume(bytes);
    }
    let Some(delivery) = Delivery::decode(bytes) else { return };
    let mut again = Vec::new();
    delivery.encode(&mut again);
    assert_eq!(Delivery::decode(&again), Some(delivery));
}

fn resume(bytes: &[u8]) {
    let Some(resume) = Resume::decode(bytes) else { return };
    let mut again = Vec::new();
    resume.encode(&mut again);
    assert_eq!(Resume::decode(&again), Some(resume));
}

fn reply(bytes: &[u8]) {
    let Some((sequence, outcome)) = Outcome::decode(bytes) else { return };
    let mut again = Vec::new();
    outcome.encode(sequence, &mut again);
    assert_eq!(Outcome::decode(&again), Some((sequence, outcome)));
}

fn ack(bytes: &[u8]) {
    let Some(ack) = AckRecord::decode(bytes) else { return };
    let mut again = Vec::new();
    ack.encode(&mut again);
    assert_eq!(AckRecord::decode(&again), Some(ack));
}

/// Each five bytes make a fragment: message number, offset, total length, length of the piece, its content. Small
/// numbers, so that fragments that belong together come up.
fn fragments(bytes: &[u8]) {
    let mut joiner = Joiner::default();
    for choice in bytes.chunks_exact(5) {
        let mut fragment: Vec<u8> = choice[..3].iter().flat_map(|byte| u64::from(*byte).to_le_bytes()).collect();
        fragment.extend(vec![choice[4]; usize::from(choice[3])]);
        let _ = joiner.take(&fragment, LIMIT);
        assert!(joiner.text().len() <= LIMIT);
    }
}
