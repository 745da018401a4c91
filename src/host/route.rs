//! Event routes, callback routes, and the KEMI function that stands in for them.

use std::ffi::{CStr, c_int};

use kamailio_sys::{route_list, str_};

use super::message::SipMsg;
use super::strings;
use crate::bus::suspended::{Continuation, RouteTable};

/// An event route that exists and is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRoute(u32);

impl EventRoute {
    /// Looks up `event_route[name]`. A name that does not exist leaves no trace, so names may come from the network.
    pub fn find(name: &CStr) -> Option<Self> {
        lookup(&raw mut kamailio_sys::event_rt, name).map(Self)
    }

    /// [`EventRoute::find`] for a name that may hold any bytes.
    pub fn find_bytes(mut name: Vec<u8>) -> Option<Self> {
        name.push(0);
        Self::find(CStr::from_bytes_with_nul(&name).ok()?)
    }

    fn action(self) -> *mut kamailio_sys::action {
        entry(&raw mut kamailio_sys::event_rt, self.0)
    }

    /// Runs the route as a request route, without script callbacks, and clears the variables that live as long as a
    /// message. Used at start-up.
    pub fn run(self, msg: SipMsg<'_>) {
        let _cleared = ClearOnDrop;
        self.execute(msg);
    }

    fn execute(self, msg: SipMsg<'_>) {
        let _type = RouteType::enter(kamailio_sys::REQUEST_ROUTE);
        // SAFETY: a complete action list and a live message; null makes Kamailio use a context of its own. Its result
        // says how the script ended, which an event does not care about.
        unsafe { kamailio_sys::run_top_route(self.action(), msg.as_ptr(), std::ptr::null_mut()) };
    }

    /// Runs the route as Kamailio runs a request: pre-script callbacks (one of which may veto), the route,
    /// post-script callbacks. The variables that live as long as a message are cleared afterwards.
    pub fn run_as_request(self, msg: SipMsg<'_>) {
        let request = kamailio_sys::script_cb_type_REQUEST_CB_TYPE;
        let _cleared = ClearOnDrop;
        // SAFETY: a live message; the callbacks were registered before this process was forked.
        if unsafe { kamailio_sys::exec_pre_script_cb(msg.as_ptr(), request) } == 0 {
            return;
        }
        self.execute(msg);
        // SAFETY: as above.
        unsafe { kamailio_sys::exec_post_script_cb(msg.as_ptr(), request) };
    }
}

/// Looks up the route in which a suspended transaction goes on: first in `table`, then among the plain `route[]`s. A name
/// that does not exist leaves no trace.
pub fn callback(table: RouteTable, name: &[u8]) -> Option<Continuation> {
    let mut name = name.to_vec();
    name.push(0);
    let name = CStr::from_bytes_with_nul(&name).ok()?;
    let found = [table, RouteTable::Plain].into_iter().find_map(|table| Some((table, lookup(raw(table), name)?)));
    found.map(|(table, index)| Continuation::Route { table, index })
}

/// What a callback route does; null if there is no such route.
pub fn actions(table: RouteTable, index: u32) -> *mut kamailio_sys::action {
    entry(raw(table), index)
}

fn raw(table: RouteTable) -> *mut route_list {
    match table {
        RouteTable::Reply => &raw mut kamailio_sys::onreply_rt,
        RouteTable::Failure => &raw mut kamailio_sys::failure_rt,
        RouteTable::Plain => &raw mut kamailio_sys::main_rt,
    }
}

/// Entry of the route `name`, if it exists and is not empty.
fn lookup(table: *mut route_list, name: &CStr) -> Option<u32> {
    // SAFETY: the table is complete before any module is initialised; the name is read during the call only.
    let index = unsafe { kamailio_sys::route_lookup(table, name.as_ptr().cast_mut()) };
    u32::try_from(index).ok().filter(|index| !entry(table, *index).is_null())
}

fn entry(table: *mut route_list, index: u32) -> *mut kamailio_sys::action {
    // SAFETY: Kamailio fills its tables before modules are initialised and never changes them afterwards.
    let (list, entries) = unsafe { ((*table).rlist, (*table).entries) };
    if c_int::try_from(index).is_ok_and(|index| index < entries) {
        // SAFETY: the list has as many entries, checked above.
        unsafe { *list.add(index as usize) }
    } else {
        std::ptr::null_mut()
    }
}

/// Whether the configuration runs in a KEMI language.
pub fn kemi_is_loaded() -> bool {
    // SAFETY: reads a pointer that is set while modules are loaded.
    !unsafe { kamailio_sys::sr_kemi_eng_get() }.is_null()
}

/// Calls the KEMI function `callback` with the name of the event. `false`: no KEMI language, or the function failed.
pub fn run_kemi(callback: &str, event: &CStr, msg: SipMsg<'_>) -> bool {
    // SAFETY: reads a pointer that is set while modules are loaded.
    let engine = unsafe { kamailio_sys::sr_kemi_eng_get() };
    if engine.is_null() {
        return false;
    }
    let (mut name, mut data): (str_, str_) = (strings::lend(callback.as_bytes()), strings::view(event.to_bytes()));
    let _cleared = ClearOnDrop;
    let _type = RouteType::enter(kamailio_sys::EVENT_ROUTE);
    let kind = kamailio_sys::EVENT_ROUTE as c_int;
    // SAFETY: a live engine and message, texts that are NUL-terminated and outlive the call.
    unsafe { kamailio_sys::sr_kemi_route(engine, msg.as_ptr(), kind, &mut name, &mut data) >= 0 }
}

/// Sets the route type and restores the old one.
struct RouteType(c_int);

impl RouteType {
    fn enter(kind: u32) -> Self {
        // SAFETY: a process-private variable of the core.
        let before = unsafe { kamailio_sys::kz_get_route_type() };
        // SAFETY: as above.
        unsafe { kamailio_sys::kz_set_route_type(kind as c_int) };
        Self(before)
    }
}

impl Drop for RouteType {
    fn drop(&mut self) {
        // SAFETY: as in `enter`.
        unsafe { kamailio_sys::kz_set_route_type(self.0) }
    }
}

/// Clears AVPs and the other variables of a message.
struct ClearOnDrop;

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        // SAFETY: frees process-private lists of the core that belong to the message just handled.
        unsafe { kamailio_sys::ksr_msg_env_reset() }
    }
}
