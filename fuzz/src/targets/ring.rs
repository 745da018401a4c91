//! A ring whose header and records another process has overwritten: errors are fine, a panic, an endless loop or a
//! byte from outside are not.
//!
//! The input is a list of overwrites: place (2 bytes), length (1), bytes.

use std::cell::RefCell;

use shm::{Consumer, Mapping, Producer, Region, ring};

const CAPACITY: usize = 1024;
/// Bytes behind the ring that nobody may touch.
const GUARD: usize = 4096;
const GUARD_BYTE: u8 = 0x5A;

thread_local! {
    static MAPPING: RefCell<Mapping> =
        RefCell::new(Mapping::create(ring::bytes_for(CAPACITY) + GUARD).expect("a few pages"));
}

pub fn fuzz(data: &[u8]) {
    MAPPING.with_borrow(|mapping| {
        let whole = mapping.region();
        let region = whole.sub(0, ring::bytes_for(CAPACITY)).expect("the ring is inside");
        ring::init(region, CAPACITY as u32).expect("a power of two");
        let guard = region.base().as_ptr().wrapping_add(region.len());
        // SAFETY: the guard lies behind the ring in the same mapping; the ends of the last round are gone.
        unsafe { guard.write_bytes(GUARD_BYTE, GUARD) };
        let (before, after) = data.split_at(data.len() / 2);
        // SAFETY: one producer and one consumer at a time.
        if let (Ok(mut producer), Ok(mut consumer)) = unsafe { (Producer::attach(region), Consumer::attach(region)) } {
            for len in [10, 200, 496] {
                let _ = producer.push(1, &[&[7; 496][..len]]);
            }
            overwrite(region, before);
            call_everything(region, &mut producer, &mut consumer);
        }
        overwrite(region, after);
        let _ = ring::cursors(region);
        // SAFETY: the ends above are gone.
        if let (Ok(mut producer), Ok(mut consumer)) = unsafe { (Producer::attach(region), Consumer::attach(region)) } {
            call_everything(region, &mut producer, &mut consumer);
        }
        // SAFETY: as above.
        let guard = unsafe { std::slice::from_raw_parts(guard, GUARD) };
        assert!(guard.iter().all(|byte| *byte == GUARD_BYTE), "written behind the ring");
    });
}

fn overwrite(region: Region, mut noise: &[u8]) {
    while let [low, high, len, rest @ ..] = noise {
        let place = usize::from(u16::from_le_bytes([*low, *high])) % region.len();
        let len = usize::from(*len).min(rest.len()).min(region.len() - place);
        // SAFETY: inside the region; no record is borrowed and no other thread runs meanwhile.
        unsafe { region.base().as_ptr().add(place).copy_from_nonoverlapping(rest.as_ptr(), len) };
        noise = &rest[len..];
    }
}

fn call_everything(region: Region, producer: &mut Producer, consumer: &mut Consumer) {
    let inside = region.base().as_ptr() as usize..=region.base().as_ptr() as usize + region.len();
    let mut spans = Vec::new();
    while let Ok(Some(record)) = consumer.next() {
        let first = record.bytes.as_ptr() as usize;
        assert!(inside.contains(&first) && inside.contains(&(first + record.bytes.len())), "record outside the ring");
        assert!(spans.len() <= CAPACITY / 64, "more records than the ring has lines");
        spans.push((record.start, record.end));
    }
    for (start, end) in spans {
        let _ = consumer.read_at(start);
        let _ = consumer.confirm(end);
    }
    consumer.rewind();
    let _ = consumer.peek();
    for len in [0, 100, 496] {
        let _ = producer.push(1, &[&[7; 496][..len]]);
    }
    assert!(producer.used() <= CAPACITY && consumer.used() <= CAPACITY);
}
