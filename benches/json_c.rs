//! The functions of json-c, the library of the C module, that it uses on payloads; loaded at run time.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

type Object = *mut c_void;

type Parse = unsafe extern "C" fn(*const c_char) -> Object;
type Get = unsafe extern "C" fn(Object, *const c_char, *mut Object) -> c_int;
type ToText = unsafe extern "C" fn(Object) -> *const c_char;
type Add = unsafe extern "C" fn(Object, *const c_char, Object) -> c_int;
type NewString = unsafe extern "C" fn(*const c_char) -> Object;
type Put = unsafe extern "C" fn(Object) -> c_int;

/// The library.
pub struct JsonC {
    parse: Parse,
    get: Get,
    text: ToText,
    add: Add,
    string: NewString,
    serialise: ToText,
    put: Put,
}

impl JsonC {
    /// `None` without the library (Debian: libjson-c5).
    pub fn load() -> Option<Self> {
        // SAFETY: loads a library that runs no code of ours.
        let library = unsafe { libc::dlopen(c"libjson-c.so.5".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return None;
        }
        let symbol = |name: &CStr| {
            // SAFETY: the library stays loaded.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        };
        // SAFETY: the types are those of json-c's headers, unchanged since its version 0.13.
        unsafe {
            Some(Self {
                parse: std::mem::transmute::<Object, Parse>(symbol(c"json_tokener_parse")?),
                get: std::mem::transmute::<Object, Get>(symbol(c"json_object_object_get_ex")?),
                text: std::mem::transmute::<Object, ToText>(symbol(c"json_object_get_string")?),
                add: std::mem::transmute::<Object, Add>(symbol(c"json_object_object_add")?),
                string: std::mem::transmute::<Object, NewString>(symbol(c"json_object_new_string")?),
                serialise: std::mem::transmute::<Object, ToText>(symbol(c"json_object_to_json_string")?),
                put: std::mem::transmute::<Object, Put>(symbol(c"json_object_put")?),
            })
        }
    }

    /// Length of the text of member `key`.
    pub fn field(&self, text: &CStr, key: &CStr) -> usize {
        // SAFETY: json-c's own rules: what was parsed is valid until it is put, the member's text as long as that.
        unsafe {
            let root = (self.parse)(text.as_ptr());
            let mut member = std::ptr::null_mut();
            let found = (self.get)(root, key.as_ptr(), &mut member);
            let len = if found != 0 { CStr::from_ptr((self.text)(member)).count_bytes() } else { 0 };
            (self.put)(root);
            len
        }
    }

    /// Whether the text is valid.
    pub fn parse(&self, text: &CStr) -> bool {
        // SAFETY: as above.
        unsafe {
            let root = (self.parse)(text.as_ptr());
            (self.put)(root);
            !root.is_null()
        }
    }

    /// Length of the serialised text after `fields` were added.
    pub fn sealed(&self, text: &CStr, fields: &[(CString, CString)]) -> usize {
        // SAFETY: as above; an added member belongs to the object.
        unsafe {
            let root = (self.parse)(text.as_ptr());
            for (name, value) in fields {
                (self.add)(root, name.as_ptr(), (self.string)(value.as_ptr()));
            }
            let len = CStr::from_ptr((self.serialise)(root)).count_bytes();
            (self.put)(root);
            len
        }
    }
}
