//! Fixed fields of a record: little helpers that write them to bytes and read them back, checked.
//!
//! Both ends run the same binary on the same host, so native byte order is used. A reader never trusts a length.

/// Appends fixed fields to a buffer that is reused from record to record.
pub struct Put<'a>(pub &'a mut Vec<u8>);

impl Put<'_> {
    /// Appends one byte.
    pub fn u8(&mut self, v: u8) {
        self.0.push(v);
    }

    /// Appends a 32-bit field.
    pub fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_ne_bytes());
    }

    /// Appends a 64-bit field.
    pub fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_ne_bytes());
    }

    /// Appends a short string: one length byte, then the text, cut at 255 bytes.
    pub fn short(&mut self, s: &[u8]) {
        let len = u8::try_from(s.len()).unwrap_or(u8::MAX);
        self.u8(len);
        self.0.extend_from_slice(&s[..usize::from(len)]);
    }
}

/// Takes fixed fields off the front of a record; `None` as soon as one does not fit.
pub struct Take<'a>(pub &'a [u8]);

impl<'a> Take<'a> {
    /// Takes `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b[0])
    }

    /// Takes a 32-bit field.
    pub fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    /// Takes a 64-bit field.
    pub fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_ne_bytes)
    }

    /// Takes a short string: one length byte, then the text.
    pub fn short(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.bytes(usize::from(len))
    }

    /// Everything that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_and_a_short_record_is_refused_at_every_length() {
        let mut bytes = Vec::new();
        let mut put = Put(&mut bytes);
        put.u8(7);
        put.u32(70_000);
        put.u64(u64::MAX - 1);
        put.short(b"callmgr");
        put.0.extend_from_slice(b"rest");

        let read = |b: &[u8]| {
            let mut t = Take(b);
            Some((t.u8()?, t.u32()?, t.u64()?, t.short()?.to_vec(), t.rest().to_vec()))
        };
        assert_eq!(read(&bytes), Some((7, 70_000, u64::MAX - 1, b"callmgr".to_vec(), b"rest".to_vec())));
        for cut in 0..bytes.len() - 4 {
            assert_eq!(read(&bytes[..cut]), None, "cut at {cut}");
        }
    }
}
