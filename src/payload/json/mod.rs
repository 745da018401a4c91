//! The JSON dialect of the bus: lenient in what it reads, one fixed form in what it writes.
//!
//! Deployed scripts and peers rely on what json-c reads, so this is the same dialect:
//!
//! * Accepted beyond strict JSON: either kind of quotes; a comma before `]` or `}`; `/* */` and `//` comments;
//!   `true`, `false`, `null`, `NaN`, `Infinity`, `-Infinity` in any case; `007`, `1.`, `1e`, `-.5`; raw control
//!   characters and any byte >= 0x80 in strings; anything after the first complete value.
//! * Refused: names without quotes; escapes other than `\" \\ \/ \b \f \n \r \t \uXXXX`; `+1`, `.5`, `0x1f`;
//!   missing values as in `[1,,2]`; unfinished text; a byte order mark; more than [`MAX_DEPTH`] nested values;
//!   `null` as the whole text.
//! * The text ends at its first NUL byte. Half a surrogate pair becomes U+FFFD. Of members with one name the last
//!   value counts, in the place of the first. Integers saturate at 64 bits; floats keep their text.
//! * Two differences on purpose: `/***/` is a whole comment, and text after the first value is not looked at even
//!   if it starts like a comment.
//!
//! Why `serde_json` does not carry it: a `serde_json::Value` holds only UTF-8 strings and finite JSON numbers,
//! so bytes >= 0x80 of another charset, `NaN`, `1.` and `-.5` have no place in it. The text would have to be
//! transcoded to strict JSON and the tree transcoded back, which is a full scanner plus two copies; and with
//! `arbitrary_precision` an object with the member `$serde_json::private::Number` is taken for a number, which
//! a remote sender could use. So the scanner is ours and as small as it can be, over `memchr` for the long
//! runs and the standard library for float syntax, and `serde_json` is the judge in the tests: on strict JSON
//! both must agree.
//!
//! | file     | concern                                                                       |
//! |----------|-------------------------------------------------------------------------------|
//! | `value`  | [`Value`], [`Object`]: what a parsed payload looks like, and edits on it      |
//! | `scan`   | tokens: blanks, comments, strings, numbers, words; where the text ends        |
//! | `number` | which characters form a number, and its canonical text                        |
//! | `text`   | a string token and its unescaped bytes                                        |
//! | `chunk`  | many bytes in one step, for `scan` and `write`                                |
//! | `read`   | the grammar, once: one value, member or element after the other               |
//! | `tree`   | reads a text into a tree                                                      |
//! | `find`   | reads the value that a path leads to: no tree                                 |
//! | `write`  | serialisation of a tree                                                       |
//! | `copy`   | reads a text and writes it in the one form in the same pass: no tree          |
//! | `written`| what `copy` has written: members can be found, added, taken out               |

mod chunk;
mod copy;
mod error;
mod find;
mod number;
mod read;
mod scan;
mod text;
mod tree;
mod value;
mod write;
mod written;

pub(super) use chunk::until_nul;
pub(super) use copy::Copier;
pub use error::{Cause, JsonError};
pub(super) use find::{Found, Step, find, member_text};
pub use read::MAX_DEPTH;
pub(super) use value::leading_int;
pub use value::{Object, Value};
pub use write::{write, write_string};
pub use written::Memory;
pub(super) use written::{Written, kind_of, text_of};
