//! What the module itself tells event routes: late replies, connections that opened or closed, messages refused.

use super::Manager;
use crate::bus::{Delivery, DeliveryKind};

/// Late replies and connection events that may wait for a consumer; more are dropped, as are more bytes than one message of
/// the largest size. Late replies were counted before.
const MAX_LOCAL_EVENTS: usize = 1000;

impl Manager {
    pub(super) fn push_local(&mut self, event: Delivery<'static>) {
        let bytes: usize = self.local.iter().map(|waiting| waiting.body.len()).sum();
        let room = self.local.len() < MAX_LOCAL_EVENTS && bytes <= self.config.max_message_size;
        if room && !self.draining {
            self.local.push_back(event);
        }
    }

    /// Tells the script about a connection, as `consumer-event-connection-open` and `-closed`.
    pub(super) fn connection_event(&mut self, broker: usize, what: &str) {
        let broker = &self.config.brokers[broker];
        let mut body = serde_json::Map::new();
        body.insert(self.config.event_key.clone(), "connection".into());
        body.insert(self.config.event_subkey.clone(), what.into());
        body.insert("host".into(), broker.url.host.clone().into());
        body.insert("zone".into(), self.config.zones.get(broker.zone).cloned().unwrap_or_default().into());
        let body = serde_json::Value::Object(body).to_string().into_bytes();
        self.push_local(Delivery::local(DeliveryKind::ConnectionEvent, body));
    }
}
