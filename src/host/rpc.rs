//! RPC commands: `kamcmd kazoo.…`. Each answers with flat structures of numbers and texts.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use kamailio_sys::{rpc_export_t, rpc_t};

use super::{guard, slots, strings};

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Full name, `kazoo.stats`.
    pub name: &'static CStr,
    /// One sentence for `kamcmd help`.
    pub doc: &'static CStr,
    /// Fills in the answer.
    pub run: fn(&mut Answer<'_>),
}

/// Why commands could not be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// More than there are slots for, or registered before.
    #[error("RPC commands were registered twice or are more than {MAX_COMMANDS}")]
    Slots,
    /// Kamailio refused; it has logged why.
    #[error("Kamailio refused an RPC command")]
    Refused,
}

/// Kamailio's callbacks carry no data of ours, so each command needs a function of its own.
const MAX_COMMANDS: usize = 8;
static COMMANDS: OnceLock<&'static [Command]> = OnceLock::new();

/// Registers the commands of the module. `mod_init`, once.
pub fn register(commands: &'static [Command]) -> Result<(), RegisterError> {
    let slots: [unsafe extern "C" fn(*mut rpc_t, *mut c_void); MAX_COMMANDS] = slots!(call: 0 1 2 3 4 5 6 7);
    if commands.len() > slots.len() || COMMANDS.set(commands).is_err() {
        return Err(RegisterError::Slots);
    }
    let mut exports: Vec<rpc_export_t> = commands.iter().zip(slots).map(|(c, slot)| export(c, slot)).collect();
    exports.push(rpc_export_t::default());
    // SAFETY: the array ends with a zeroed row; it and all it points to are leaked, Kamailio keeps pointers to them.
    match unsafe { kamailio_sys::rpc_register_array(exports.leak().as_mut_ptr()) } {
        0 => Ok(()),
        _ => Err(RegisterError::Refused),
    }
}

fn export(command: &Command, slot: unsafe extern "C" fn(*mut rpc_t, *mut c_void)) -> rpc_export_t {
    let doc = vec![command.doc.as_ptr(), std::ptr::null()].leak();
    rpc_export_t { name: command.name.as_ptr(), function: Some(slot), doc_str: doc.as_mut_ptr(), flags: 0 }
}

/// # Safety
///
/// Called by Kamailio with the functions and the context of one request.
unsafe extern "C" fn call<const SLOT: usize>(rpc: *mut rpc_t, context: *mut c_void) {
    guard::entry("RPC command", (), || {
        let command = COMMANDS.get().and_then(|commands| commands.get(SLOT));
        // SAFETY: Kamailio's table of functions lives at least as long as the request.
        if let (Some(command), Some(rpc)) = (command, unsafe { rpc.as_ref() }) {
            (command.run)(&mut Answer { rpc, context });
        }
    });
}

/// The answer to one request.
pub struct Answer<'r> {
    rpc: &'r rpc_t,
    context: *mut c_void,
}

/// A structure inside an answer.
pub struct Structure<'a, 'r> {
    answer: &'a Answer<'r>,
    handle: *mut c_void,
}

impl std::fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl std::fmt::Debug for Structure<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Structure")
    }
}

impl<'r> Answer<'r> {
    /// Adds a structure; `None` when Kamailio has no memory for it.
    pub fn structure(&mut self) -> Option<Structure<'_, 'r>> {
        let mut handle: *mut c_void = std::ptr::null_mut();
        // SAFETY: `{` takes a pointer to the handle it fills; the context is that of this request.
        let result = unsafe { (self.rpc.add?)(self.context, c"{".as_ptr().cast_mut(), &raw mut handle) };
        (result >= 0 && !handle.is_null()).then_some(Structure { answer: self, handle })
    }

    /// Ends the request with an error.
    pub fn fault(&mut self, code: i32, text: &CStr) {
        if let Some(fault) = self.rpc.fault {
            // SAFETY: the text is passed as data of a `%s`; the context is that of this request.
            unsafe { fault(self.context, code, c"%s".as_ptr().cast_mut(), text.as_ptr()) }
        }
    }
}

impl Structure<'_, '_> {
    /// Adds a number. Kamailio's numbers are 32 bits wide here: a larger one is added as text.
    pub fn number(&mut self, name: &CStr, value: u64) {
        match c_int::try_from(value) {
            Ok(value) => self.add(name, c"d", |add, handle, format, name| {
                // SAFETY: `d` takes a name and an `int`; handle and function belong to the same request.
                unsafe { add(handle, format, name, value) }
            }),
            Err(_) => self.text(name, value.to_string().as_bytes()),
        }
    }

    /// Adds a text.
    pub fn text(&mut self, name: &CStr, value: &[u8]) {
        let mut value = strings::lend(value);
        self.add(name, c"S", |add, handle, format, name| {
            // SAFETY: `S` takes a name and a pointer to a `str`, which Kamailio copies before it returns.
            unsafe { add(handle, format, name, &raw mut value) }
        });
    }

    /// One call of `struct_add`. A failed addition leaves the member out; Kamailio logs it.
    fn add(
        &mut self,
        name: &CStr,
        format: &CStr,
        call: impl FnOnce(StructAdd, *mut c_void, *mut c_char, *const c_char) -> c_int,
    ) {
        if let Some(add) = self.answer.rpc.struct_add {
            call(add, self.handle, format.as_ptr().cast_mut(), name.as_ptr());
        }
    }
}

type StructAdd = unsafe extern "C" fn(*mut c_void, *mut c_char, ...) -> c_int;
