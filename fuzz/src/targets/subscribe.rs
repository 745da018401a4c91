//! The argument of `kazoo_subscribe(json)`, and its way through shared memory.

use kazoo::bus::subscription::Subscription;
use kazoo::script::subscription_json;

pub fn fuzz(text: &[u8]) {
    // What another process finds in the registry need not be what was written there.
    let _ = Subscription::from_bytes(text);
    let Ok(subscription) = subscription_json::parse(text) else { return };
    let Ok(bytes) = subscription.to_bytes() else { return };
    let back = Subscription::from_bytes(&bytes).expect("a subscription comes back");
    assert_eq!(format!("{back:?}"), format!("{subscription:?}"));
}
