//! Turns `layout.list` into two tables of the same questions: one that C answers, one that Rust answers.
//!
//! One list for both sides, so that a struct is added in one place and neither table can fall behind the other.

use std::fmt::Write;

/// What can be asked about a struct; the fields are in C's spelling.
enum Question<'a> {
    Size,
    Alignment,
    Offset(&'a str),
}

/// The C file and the Rust expression that answer every question of `list`, in the same order.
pub fn tables(list: &str) -> Result<(String, String), String> {
    let mut c = String::from(
        "#include <stddef.h>\n#include \"wrapper.h\"\n\
         struct kz_layout { const char *what; size_t value; };\n\
         const struct kz_layout kz_layouts[] = {\n",
    );
    let mut rust = String::from("&[\n");
    for line in list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, fields) = line.split_once(':').ok_or_else(|| format!("layout.list: no colon in \"{line}\""))?;
        let fields = fields.split_whitespace().map(Question::Offset);
        for question in [Question::Size, Question::Alignment].into_iter().chain(fields) {
            let (what, in_c, in_rust) = question.spelled(name);
            _ = writeln!(c, "\t{{\"{what}\", {in_c}}},");
            _ = writeln!(rust, "    (c\"{what}\", {in_rust}),");
        }
    }
    Ok((c + "\t{NULL, 0},\n};\n", rust + "]\n"))
}

impl Question<'_> {
    /// The question in words, in C and in Rust.
    fn spelled(&self, name: &str) -> (String, String, String) {
        let rust_name = rust_word(name);
        match self {
            Self::Size => (
                format!("size of {name}"),
                format!("sizeof({name})"),
                format!("core::mem::size_of::<kamailio_sys::{rust_name}>()"),
            ),
            Self::Alignment => (
                format!("alignment of {name}"),
                format!("_Alignof({name})"),
                format!("core::mem::align_of::<kamailio_sys::{rust_name}>()"),
            ),
            Self::Offset(field) => (
                format!("offset of {name}.{field}"),
                format!("offsetof({name}, {field})"),
                format!("core::mem::offset_of!(kamailio_sys::{rust_name}, {})", rust_word(field)),
            ),
        }
    }
}

/// bindgen appends `_` to names that mean something in Rust.
fn rust_word(name: &str) -> &str {
    match name {
        "str" => "str_",
        "type" => "type_",
        name => name,
    }
}
