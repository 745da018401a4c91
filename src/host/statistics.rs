//! Statistics: `kamcmd stats.get_statistics kazoo:`. Values are read when somebody asks.

use std::ffi::{CString, NulError, c_int};
use std::sync::OnceLock;

use kamailio_sys::{counter_val_t, stat_export_t};

use super::{guard, slots};

/// Kamailio's callbacks carry no data of ours, so each statistic needs a function of its own.
const MAX_STATISTICS: usize = 48;
static READ: OnceLock<fn(usize) -> u64> = OnceLock::new();

/// Why statistics could not be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// More than there are slots for, or registered before.
    #[error("statistics were registered twice or are more than {MAX_STATISTICS}")]
    Slots,
    /// A name that C cannot hold.
    #[error(transparent)]
    Name(#[from] NulError),
    /// Kamailio refused; it has logged why.
    #[error("Kamailio refused the statistics")]
    Refused,
}

/// Registers one statistic per name; `read(i)` gives the value of `names[i]`. `mod_init`, once.
///
/// `read` is called in whatever process is asked, so it must read shared memory.
pub fn register<'n>(
    names: impl ExactSizeIterator<Item = &'n str>,
    read: fn(usize) -> u64,
) -> Result<(), RegisterError> {
    let slots: [unsafe extern "C" fn() -> counter_val_t; MAX_STATISTICS] = slots!(value:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23
        24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47);
    if names.len() > slots.len() || READ.set(read).is_err() {
        return Err(RegisterError::Slots);
    }
    let mut exports = Vec::with_capacity(names.len() + 1);
    for (name, slot) in names.zip(slots) {
        let flags = (kamailio_sys::STAT_IS_FUNC | kamailio_sys::STAT_NO_RESET) as c_int;
        // With STAT_IS_FUNC the field holds the function itself.
        exports.push(stat_export_t { name: CString::new(name)?.into_raw(), flags, stat_pointer: slot as *mut _ });
    }
    exports.push(stat_export_t::default());
    // SAFETY: the array ends with a zeroed row; it and the names are leaked, Kamailio may keep pointers to them.
    match unsafe { kamailio_sys::register_module_stats(c"kazoo".as_ptr().cast_mut(), exports.leak().as_mut_ptr()) } {
        0 => Ok(()),
        _ => Err(RegisterError::Refused),
    }
}

/// # Safety
///
/// None beyond the C calling convention: called by Kamailio.
unsafe extern "C" fn value<const SLOT: usize>() -> counter_val_t {
    guard::entry("statistic", 0, || {
        READ.get().map_or(0, |read| counter_val_t::try_from(read(SLOT)).unwrap_or(counter_val_t::MAX))
    })
}
