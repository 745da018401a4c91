//! `$kzE`, `$kzRK`: payload and routing key of the event that this consumer process is handling.

use std::cell::RefCell;

/// What the event route may ask about the event. Texts are kept with a NUL behind them.
#[derive(Debug)]
struct Event {
    payload: Vec<u8>,
    routing_key: Option<Vec<u8>>,
}

thread_local! {
    static EVENT: RefCell<Option<Event>> = const { RefCell::new(None) };
}

/// Runs `route` with the variables set; they are null again afterwards, also when it panics.
///
/// `routing_key` is `None` for events that the module makes itself.
pub fn during<R>(mut payload: Vec<u8>, routing_key: Option<&[u8]>, route: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            EVENT.set(None);
        }
    }
    payload.push(0);
    EVENT.set(Some(Event { payload, routing_key: routing_key.map(terminated) }));
    let _reset = Reset;
    route()
}

/// Hands the payload to `show`. It stays where it is until the event is over.
pub fn show_payload<R>(show: impl FnOnce(Option<&[u8]>) -> R) -> R {
    EVENT.with_borrow(|event| show(event.as_ref().and_then(|event| text(&event.payload))))
}

/// Hands the routing key to `show`. It stays where it is until the event is over.
pub fn show_routing_key<R>(show: impl FnOnce(Option<&[u8]>) -> R) -> R {
    EVENT.with_borrow(|event| show(event.as_ref().and_then(|event| text(event.routing_key.as_deref()?))))
}

fn terminated(text: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(text.len() + 1);
    copy.extend_from_slice(text);
    copy.push(0);
    copy
}

fn text(terminated: &[u8]) -> Option<&[u8]> {
    terminated.split_last().map(|(_, text)| text)
}
