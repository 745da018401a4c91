//! One event: the payload is read and edited, the route is found, the route is run.

use crate::bus::counters::{Counter, Row};
use crate::bus::{Delivery, DeliveryKind};
use crate::config::Config;
use crate::host::log;
use crate::host::message::{self, SipMsg};
use crate::host::route::{self, EventRoute};
use crate::payload::event::{EventKey, EventKeys, candidates};
use crate::payload::{Inbound, Origin, PayloadError, inbound};
use crate::script;

/// Name that a KEMI callback gets for every event.
const KEMI_EVENT: &std::ffi::CStr = c"kazoo:consumer-event";

/// Handles one delivery. What cannot be handled is counted and logged, throttled.
pub fn handle(config: &Config, row: &Row, delivery: &Delivery) {
    let payload = match parse(config, delivery) {
        Ok(payload) => payload,
        Err(error) => {
            row.inc(Counter::NotJson);
            log::throttled_error!(
                "message of exchange \"{}\", routing key \"{}\" dropped: {error}",
                String::from_utf8_lossy(&delivery.exchange),
                String::from_utf8_lossy(&delivery.routing_key)
            );
            return;
        }
    };
    let made_here = delivery.kind.is_made_here();
    let text = if made_here { &delivery.body } else { payload.text() };
    let routing_key = (!made_here).then_some(delivery.routing_key.as_slice());
    let ran = script::event::during(text, routing_key, || {
        message::with_faked(|msg| match &config.event_callback {
            Some(callback) => route::run_kemi(callback, KEMI_EVENT, msg),
            None => run_route(config, delivery, &payload, msg),
        })
    });
    match ran {
        Ok(true) => {}
        Ok(false) => no_route(row, delivery, &payload, config),
        Err(error) => log::throttled_error!("event dropped: {error}"),
    }
}

fn parse(config: &Config, delivery: &Delivery) -> Result<Inbound, PayloadError> {
    if delivery.kind.is_made_here() {
        return Inbound::unedited(&delivery.body);
    }
    let origin = Origin {
        zone: config.zone_of(delivery.broker_id).as_bytes(),
        broker_id: delivery.broker_id,
        received_unix: delivery.received_unix,
    };
    inbound(&delivery.body, &origin)
}

/// Runs the most specific route that exists. False if there is none.
fn run_route(config: &Config, delivery: &Delivery, payload: &Inbound, msg: SipMsg<'_>) -> bool {
    // Routes for everything were written before there were events about refused messages.
    let names = if delivery.kind == DeliveryKind::RefusalEvent { 2 } else { usize::MAX };
    let found = candidates(payload, keys(config, delivery)).take(names).find_map(EventRoute::find_bytes);
    if let Some(route) = found {
        route.run_as_request(msg);
    }
    found.is_some()
}

fn keys<'k>(config: &'k Config, delivery: &'k Delivery) -> EventKeys<'k> {
    EventKeys {
        key: EventKey::choose(&delivery.event_key, config.event_key.as_bytes()),
        subkey: EventKey::choose(&delivery.event_subkey, config.event_subkey.as_bytes()),
    }
}

/// Nobody asks for events that the module makes itself; for a message it is worth a line.
fn no_route(row: &Row, delivery: &Delivery, payload: &Inbound, config: &Config) {
    if delivery.kind.is_made_here() {
        return;
    }
    row.inc(Counter::NoRoute);
    let first = candidates(payload, keys(config, delivery)).next().unwrap_or_default();
    let shown = &first[..first.len().min(200)];
    log::throttled_error!("no event route for \"{}\" or anything more general", String::from_utf8_lossy(shown));
}
