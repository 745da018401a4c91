//! An object in the one written form whose members can still be found, added and taken out: no tree.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use memchr::memchr;

use super::text::Text;
use super::write::write_string;

/// End of an object.
const END: &[u8] = b" }";

/// The text of an object, and where its members stand.
///
/// Members are found, added and taken out by their names as they are written, with quotes.
///
/// While it is written its text has no end, and it also holds the members of objects inside it: those of the innermost
/// one are the last.
#[derive(Debug)]
pub(in crate::payload) struct Written {
    pub(super) text: Vec<u8>,
    places: Vec<Place>,
}

/// Memory of an object that was written, for the next one: a process that seals one payload after the other needs no
/// allocator, whose code and tables are in no cache between two SIP requests.
#[derive(Debug, Default)]
pub struct Memory {
    text: Vec<u8>,
    places: Vec<Place>,
}

impl Memory {
    /// More than this is given back.
    const KEPT_BYTES: usize = 64 * 1024;

    /// Takes back the memory of a text that is done with.
    pub fn keep(&mut self, text: Vec<u8>) {
        if text.capacity() <= Self::KEPT_BYTES {
            self.text = text;
        }
        if self.places.capacity() > Self::KEPT_BYTES / size_of::<Place>() {
            self.places = Vec::new();
        }
    }
}

/// Where a member stands in the text.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The opening quote of the name.
    name: usize,
    /// The value. The text before it ends with a quote, a colon and a blank.
    value: usize,
    /// Of the name.
    hash: u32,
}

/// What is known of the members of one object while it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// Number of members of the objects around it.
    base: usize,
    /// A bit for each name; two names may have the same.
    bits: u64,
    /// Two names may be the same.
    repeated: bool,
}

impl Written {
    /// Up to this many names are compared with each other at once, by their hashes.
    const FEW: usize = 128;

    /// With room for a text of `bytes` bytes, in memory that is there already if possible.
    pub(super) fn in_memory(memory: Memory, bytes: usize) -> Self {
        const MEMBERS: usize = 32;
        let Memory { mut text, mut places } = memory;
        text.clear();
        text.reserve(bytes);
        places.clear();
        places.reserve(MEMBERS);
        Self { text, places }
    }

    /// Begins an object.
    pub(super) fn open(&self) -> Names {
        Names { base: self.places.len(), bits: 0, repeated: false }
    }

    /// Writes the name of the next member; its value has to follow.
    #[inline(always)]
    pub(super) fn name(&mut self, names: &mut Names, name: Text<'_>) {
        let start = self.comma(names.base);
        match name {
            Text::Plain(token) => self.text.extend_from_slice(token),
            other => write_string(&other.decode_key(), &mut self.text),
        }
        let hash = hash(&self.text[start..]);
        if names.note(hash) {
            self.compare(names, hash);
        }
        self.colon(start, hash);
    }

    /// Writes what stands before a name of the innermost object, and shows where the name begins.
    #[inline(always)]
    fn comma(&mut self, base: usize) -> usize {
        let is_first = self.places.len() == base;
        self.text.extend_from_slice(if is_first { b"{ " } else { b", " });
        self.text.len()
    }

    /// Writes what stands behind the name that begins at `name`.
    #[inline(always)]
    fn colon(&mut self, name: usize, hash: u32) {
        self.text.extend_from_slice(b": ");
        self.places.push(Place { name, value: self.text.len(), hash });
    }

    /// Compares with all names before.
    #[inline(never)]
    fn compare(&self, names: &mut Names, hash: u32) {
        let places = &self.places[names.base..];
        names.repeated |= places.len() < Self::FEW && places.iter().any(|place| place.hash == hash);
    }

    /// Ends the object: of members with the same name the last value stays, in the place of the first.
    pub(super) fn close(&mut self, names: Names) {
        let members = self.places.len() - names.base;
        if members == 0 {
            self.text.push(b'{');
        } else if names.repeated || members > Self::FEW {
            self.join_repeated(names.base);
        }
        self.text.extend_from_slice(END);
    }

    /// Forgets the members of an object inside another one.
    pub(super) fn forget(&mut self, names: Names) {
        self.places.truncate(names.base);
    }

    /// Linear, so that an object with a million members cannot hold up a process.
    #[cold]
    fn join_repeated(&mut self, base: usize) {
        let mut kept: Vec<(usize, usize)> = Vec::new();
        let mut nth: HashMap<_, usize> = HashMap::with_capacity(self.places.len() - base);
        for at in base..self.places.len() {
            match nth.entry(self.name_of(at)) {
                Entry::Occupied(first) => kept[*first.get()].1 = at,
                Entry::Vacant(free) => {
                    free.insert(kept.len());
                    kept.push((at, at));
                }
            }
        }
        if kept.len() < self.places.len() - base {
            self.keep(base, &kept);
        }
    }

    /// Writes the members of the innermost object anew: the name of one, the value of the other.
    #[cold]
    fn keep(&mut self, base: usize, kept: &[(usize, usize)]) {
        let (start, end) = (self.places[base].name, self.text.len());
        let (mut text, mut places) = (Vec::with_capacity(end - start), Vec::with_capacity(kept.len()));
        for &(first, last) in kept {
            if !text.is_empty() {
                text.extend_from_slice(b", ");
            }
            let (name, named) = (start + text.len(), self.places[first]);
            text.extend_from_slice(&self.text[named.name..named.value]);
            places.push(Place { name, value: start + text.len(), hash: named.hash });
            text.extend_from_slice(&self.text[self.value(last, end)]);
        }
        self.text.truncate(start);
        self.text.append(&mut text);
        self.places.truncate(base);
        self.places.append(&mut places);
    }

    /// A name as it is written.
    fn name_of(&self, at: usize) -> &[u8] {
        let place = self.places[at];
        &self.text[place.name..place.value - b": ".len()]
    }

    /// Where value `at` of an object stands whose members end at `end`.
    fn value(&self, at: usize, end: usize) -> Range<usize> {
        self.places[at].value..self.places.get(at + 1).map_or(end, |next| next.name - b", ".len())
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        (0..self.places.len()).find(|&at| self.name_of(at) == name)
    }

    /// Where the value of member `name` stands.
    pub(in crate::payload) fn find(&self, name: &[u8]) -> Option<Range<usize>> {
        self.position(name).map(|at| self.value(at, self.text.len() - END.len()))
    }

    /// Adds a member that is not there yet. Returns where its value stands.
    pub(in crate::payload) fn add(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        self.text.truncate(if self.places.is_empty() { 0 } else { self.text.len() - END.len() });
        let start = self.comma(0);
        self.text.extend_from_slice(name);
        // Nobody compares names any more.
        self.colon(start, 0);
        let start = self.text.len();
        write(&mut self.text);
        let value = start..self.text.len();
        self.text.extend_from_slice(END);
        value
    }

    /// Puts a value in the place of that of member `name`, or adds the member.
    pub(in crate::payload) fn set(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let Some(at) = self.position(name) else {
            self.add(name, write);
            return;
        };
        let mut value = Vec::new();
        write(&mut value);
        let old = self.value(at, self.text.len() - END.len());
        for later in &mut self.places[at + 1..] {
            later.shift(old.len(), value.len());
        }
        self.text.splice(old, value);
    }

    /// Takes member `name` out.
    pub(in crate::payload) fn remove(&mut self, name: &[u8]) {
        let Some(at) = self.position(name) else { return };
        let start = self.places.remove(at).name;
        let bytes = match self.places.get(at) {
            Some(next) => start..next.name,
            // With the comma before it, or with all there is.
            None => start - b", ".len()..self.text.len() - END.len(),
        };
        for later in &mut self.places[at..] {
            later.shift(bytes.len(), 0);
        }
        self.text.drain(bytes);
        if self.places.is_empty() {
            self.text.insert(0, b'{');
        }
    }

    /// The text.
    pub(in crate::payload) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The text.
    pub(in crate::payload) fn into_text(self) -> Vec<u8> {
        self.text
    }

    /// The text, and the rest of the memory for the next one.
    pub(in crate::payload) fn into_text_and_memory(self) -> (Vec<u8>, Memory) {
        (self.text, Memory { text: Vec::new(), places: self.places })
    }
}

impl Place {
    /// Moves behind a text whose length changed.
    fn shift(&mut self, old: usize, new: usize) {
        self.name = self.name - old + new;
        self.value = self.value - old + new;
    }
}

impl Names {
    /// Takes note of a name; true if it may have been there before.
    #[inline(always)]
    fn note(&mut self, hash: u32) -> bool {
        let bit = 1 << (hash % u64::BITS);
        let found = self.bits & bit != 0;
        self.bits |= bit;
        found
    }
}

/// Different for most names that differ. That of a name that a peer chose may be the same: then they are compared.
#[inline(always)]
fn hash(name: &[u8]) -> u32 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let ends = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(21),
        _ => name.iter().fold(0, |bytes, &byte| bytes << 8 | u64::from(byte)),
    };
    ((ends ^ name.len() as u64).wrapping_mul(ODD) >> 32) as u32
}

/// A written value as script text: see [`render`](crate::payload::path::render).
pub(in crate::payload) fn text_of(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    match value {
        b"null" => None,
        [b'"', ..] => {
            let has_escapes = memchr(b'\\', value).is_some();
            Some(if has_escapes { Text::Escaped(value) } else { Text::Plain(value) }.decode())
        }
        other => Some(Cow::Borrowed(other)),
    }
}

/// Kind of a written value: see [`Value::kind`](super::Value::kind).
pub(in crate::payload) fn kind_of(value: &[u8]) -> &'static str {
    match value {
        [b'"', ..] => "string",
        [b'[', ..] => "array",
        [b'{', ..] => "object",
        b"null" => "null",
        b"true" | b"false" => "boolean",
        _ => "number",
    }
}
