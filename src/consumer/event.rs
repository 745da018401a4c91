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

/// What is run for an event.
enum Target<'c> {
    Route(EventRoute),
    Kemi(&'c str),
}

impl Target<'_> {
    /// False if there is no such KEMI function, or it failed.
    fn run(&self, msg: SipMsg<'_>) -> bool {
        match self {
            Self::Route(route) => {
                route.run_as_request(msg);
                true
            }
            Self::Kemi(callback) => route::run_kemi(callback, KEMI_EVENT, msg),
        }
    }
}

/// Handles one delivery. What cannot be handled is counted and logged, throttled.
pub fn handle(config: &Config, row: &Row, delivery: &Delivery<'_>) {
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
    let Some(target) = target(config, delivery, &payload) else {
        return no_route(row, delivery, &payload, config);
    };
    let made_here = delivery.kind.is_made_here();
    let text = if made_here { delivery.body.to_vec() } else { payload.into_text() };
    let routing_key = (!made_here).then_some(&*delivery.routing_key);
    let ran = script::event::during(text, routing_key, || message::with_faked(|msg| target.run(msg)));
    match (ran, target) {
        (Ok(false), Target::Kemi(callback)) if !made_here => {
            row.inc(Counter::NoRoute);
            log::throttled_error!("there is no KEMI function \"{callback}\" for events, or it failed");
        }
        (Ok(_), _) => {}
        (Err(error), _) => log::throttled_error!("event dropped: {error}"),
    }
}

fn parse(config: &Config, delivery: &Delivery<'_>) -> Result<Inbound, PayloadError> {
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

/// The KEMI function for all events, or the most specific route that exists.
fn target<'c>(config: &'c Config, delivery: &Delivery<'_>, payload: &Inbound) -> Option<Target<'c>> {
    if let Some(callback) = &config.event_callback {
        return Some(Target::Kemi(callback));
    }
    // Routes for everything were written before there were events about refused messages.
    let names = if delivery.kind == DeliveryKind::RefusalEvent { 2 } else { usize::MAX };
    candidates(payload, keys(config, delivery)).take(names).find_map(EventRoute::find_bytes).map(Target::Route)
}

fn keys<'k>(config: &'k Config, delivery: &'k Delivery<'_>) -> EventKeys<'k> {
    EventKeys {
        key: EventKey::choose(&delivery.event_key, config.event_key.as_bytes()),
        subkey: EventKey::choose(&delivery.event_subkey, config.event_subkey.as_bytes()),
    }
}

/// Nobody asks for events that the module makes itself; for a message it is worth a line.
fn no_route(row: &Row, delivery: &Delivery<'_>, payload: &Inbound, config: &Config) {
    if delivery.kind.is_made_here() {
        return;
    }
    row.inc(Counter::NoRoute);
    let first = candidates(payload, keys(config, delivery)).next().unwrap_or_default();
    let shown = &first[..first.len().min(200)];
    log::throttled_error!("no event route for \"{}\" or anything more general", String::from_utf8_lossy(shown));
}
