//! What workers are told about the way to the broker: whether a full outbox is worth waiting for.

use super::Manager;
use crate::bus::layout::Flow;

impl Manager {
    /// Tells workers whether a full outbox is worth waiting for.
    pub(super) fn update_flow(&mut self, now_ns: u64) {
        if self.links.is_starting() {
            // Within milliseconds it will be clear; until then what the last manager said stands.
            return;
        }
        let flow = if !self.links.has_primary() {
            Flow::Down
        } else if self.publisher.stands_still(&mut self.links, now_ns) {
            Flow::Still
        } else {
            Flow::Moving
        };
        self.links.set_stalled(flow == Flow::Still);
        let before = self.port.shared.flow();
        if before == flow {
            return;
        }
        self.port.shared.set_flow(flow);
        match (before, flow) {
            (_, Flow::Still) => self.log.warn(format_args!(
                "no confirm for {:?}: the broker is blocked or frozen; messages wait in the outbox",
                self.config.stall_timeout
            )),
            (Flow::Still, Flow::Moving) => self.log.info(format_args!("confirms move again")),
            _ => {}
        }
        if flow != Flow::Moving {
            // Whoever waits for room shall stop waiting.
            self.port.wake_all();
        }
    }
}
