//! A row of the presentity table, and which older rows make room for it.

/// How many of [`Row::cells`] make up the key, counted from the front.
pub const KEY_COLUMNS: usize = 4;

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'r> {
    /// A character column.
    Text(&'r str),
    /// The body.
    Blob(&'r [u8]),
    /// A number; the table's columns have 32 bits.
    Int(i32),
}

/// What is written. `ruid` and `id` are left to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Event package.
    pub event: &'static str,
    /// Realm of the presentity.
    pub domain: String,
    /// User of the presentity.
    pub username: String,
    /// Tells several sources of one presentity's state apart.
    pub etag: String,
    /// Who sent the state.
    pub sender: String,
    /// Document for the watchers.
    pub body: String,
    /// Unix time of this update in seconds.
    pub received_time: i32,
    /// Unix time at which the row ends, in seconds; 0 or less: as the payload had it.
    pub expires: i32,
}

impl Row {
    /// Names and values of the columns. The key comes first, from the widest part to the narrowest, so that its front
    /// part is the condition of a flush.
    pub fn cells(&self) -> [(&'static str, Cell<'_>); 9] {
        [
            ("event", Cell::Text(self.event)),
            ("domain", Cell::Text(&self.domain)),
            ("username", Cell::Text(&self.username)),
            ("etag", Cell::Text(&self.etag)),
            ("sender", Cell::Text(&self.sender)),
            ("body", Cell::Blob(self.body.as_bytes())),
            ("received_time", Cell::Int(self.received_time)),
            ("expires", Cell::Int(self.expires)),
            ("priority", Cell::Int(0)),
        ]
    }
}

/// Which older rows an update removes before it writes its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Flush {
    /// Level 0: the row with the same four key columns.
    Same = 0,
    /// Level 1: all rows of this presentity and package.
    Presentity = 1,
    /// Level 2: all rows of this realm and package.
    Realm = 2,
    /// Level 3: all rows of this package.
    Package = 3,
}

impl Flush {
    /// The level that a payload asks for. Nothing reaches beyond the package: what is more than 3 counts as 3, what is
    /// less than 0 as 0.
    pub fn from_level(level: i64) -> Self {
        match level {
            i64::MIN..=0 => Self::Same,
            1 => Self::Presentity,
            2 => Self::Realm,
            3.. => Self::Package,
        }
    }

    /// How many key columns, from the front, must be equal for a row to be removed; never 0.
    pub fn equal_columns(self) -> usize {
        KEY_COLUMNS - self as usize
    }
}
