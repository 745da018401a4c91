//! Numbers of messages: in payloads, and as sets.

use memchr::memmem;

/// The payload field that holds a message's number. It stands first, so that it is found quickly.
pub(super) const FIELD: &str = "\"Seq\":\"";

/// Messages with smaller numbers are warm-ups, which nobody counts.
pub const FIRST: u64 = 1000;

/// A JSON object of `bytes` bytes that begins with this number and ends with a field `Last`.
pub fn payload(number: &str, bytes: usize) -> String {
    const END: &str = "\",\"Last\":\"end\"}";
    let begin = format!("{{{FIELD}{number}\",\"Event-Category\":\"load\",\"Event-Name\":\"test\",\"Filler\":\"");
    let filler = "x".repeat(bytes.saturating_sub(begin.len() + END.len()));
    begin + &filler + END
}

/// The text of a payload's string field that is written as `field` (name, quotes and colon included).
pub(super) fn text_after<'a>(body: &'a [u8], field: &str) -> Option<&'a [u8]> {
    let at = memmem::find(body, field.as_bytes())? + field.len();
    let length = memchr::memchr(b'"', &body[at..])?;
    Some(&body[at..at + length])
}

/// A decimal number at the beginning of `text`.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// The number of the message with this payload. The C module writes blanks behind colons.
pub(super) fn sequence(body: &[u8]) -> Option<u64> {
    let at = memmem::find(body, b"\"Seq\":")? + 6;
    let blank = |byte: &&u8| matches!(byte, b' ' | b'"');
    let skip = body[at..].iter().take_while(blank).count();
    number(&body[at + skip..])
}

/// A set of numbers that knows how many came twice.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    bits: Vec<u64>,
    distinct: u64,
    repeated: u64,
}

/// Larger numbers are not ours: a damaged payload must not cost gigabytes.
const LIMIT: u64 = 1 << 31;

impl Numbers {
    /// Adds a number.
    pub fn add(&mut self, number: u64) {
        let (word, bit) = ((number.min(LIMIT) / 64) as usize, 1 << (number % 64));
        if self.bits.len() <= word {
            self.bits.resize((word + 1).next_power_of_two(), 0);
        }
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.distinct += 1;
        } else {
            self.repeated += 1;
        }
    }

    /// Adds the number in a payload, unless it is a warm-up's. One without a number is nobody's: `LIMIT`.
    pub fn add_message(&mut self, body: &[u8]) {
        let number = sequence(body).unwrap_or(LIMIT);
        if number >= FIRST {
            self.add(number);
        }
    }

    /// Adds `from..to`.
    pub fn add_range(&mut self, range: std::ops::Range<u64>) {
        range.for_each(|number| self.add(number));
    }

    /// Whether the number was added.
    pub fn contains(&self, number: u64) -> bool {
        self.bits.get((number / 64) as usize).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// How many different numbers.
    pub fn distinct(&self) -> u64 {
        self.distinct
    }

    /// How many came again.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// How many of these are not in `other`.
    pub fn missing_in(&self, other: &Numbers) -> u64 {
        let theirs = other.bits.iter().copied().chain(std::iter::repeat(0));
        self.bits.iter().zip(theirs).map(|(mine, theirs)| u64::from((mine & !theirs).count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_its_size_and_its_number() {
        let text = payload("4711", 500);
        assert_eq!((text.len(), sequence(text.as_bytes())), (500, Some(4711)));
        assert_eq!(payload("1", 1_000_000).len(), 1_000_000);
        assert_eq!(sequence(br#"{ "Seq": "12", "a": 1 }"#), Some(12));
        assert_eq!(sequence(b"{}"), None);
    }

    #[test]
    fn sets_tell_lost_from_repeated() {
        let (mut sent, mut came) = (Numbers::default(), Numbers::default());
        sent.add_range(0..200);
        came.add_range(0..199);
        came.add(7);
        came.add(900);
        assert_eq!((sent.missing_in(&came), came.missing_in(&sent), came.repeated()), (1, 1, 1));
    }
}
