//! Markdown to DocBook, as far as the pages of the manual use Markdown.
//!
//! A heading opens a section; its id says what it documents, in the manner of Kamailio's manuals
//! (`kazoo.f.kazoo_publish`). Links between pages become links between ids.

use std::fmt::Write as _;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// A heading and what stands below it up to the next heading of any level.
#[derive(Clone, Debug)]
pub struct Part {
    /// 1 for the page's title.
    pub level: u8,
    /// Plain text of the heading.
    pub heading: String,
    /// Where links lead to: page, and `#slug` behind it unless this is the page's title.
    pub address: String,
    /// DocBook, without the section around it.
    pub content: String,
    /// First lines of the function's forms; the first of them becomes the title.
    pub synopsis: Vec<String>,
    /// Targets of the links in `content`, which hold their place as `link:target`.
    pub links: Vec<String>,
}

/// Closes an item of a list. DocBook wants a paragraph in each, which may hold lists and listings.
const ITEM_END: &str = "</para></listitem>\n";

/// Text that is safe between tags and in attributes.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Anchor of a heading, as the usual Markdown viewers make it.
pub fn slug(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Id of the section below `heading` of `page`.
pub fn id(page: &str, heading: &str) -> String {
    let word = heading.split_whitespace().next().unwrap_or_default();
    let is_parameter = kazoo::config::PARAMS.iter().any(|param| param.name() == heading);
    let (kind, name) = match word.split_at_checked(1) {
        _ if is_parameter => ("p", heading),
        Some(("$", name)) => ("v", name),
        Some(("{", name)) => ("t", name.trim_end_matches('}')),
        _ if word.starts_with("kazoo_") => ("f", word),
        _ => match word.split_once(':').or_else(|| word.split_once('.')) {
            Some(("kazoo", name)) if word.contains(':') => ("e", name),
            Some(("kazoo", name)) => ("r", name),
            _ => return format!("kazoo.{}.{}", page.trim_end_matches(".md"), slug(heading)),
        },
    };
    let end = name.find(['[', ',', '…']).unwrap_or(name.len());
    format!("kazoo.{kind}.{}", &name[..end])
}

/// The parts of a page.
pub fn parts(page: &str, markdown: &str) -> Vec<Part> {
    let mut writer = Writer { page, parts: Vec::new(), out: Vec::new(), code: None, heading: None, in_head: false };
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        writer.event(event);
    }
    writer.parts
}

struct Writer<'a> {
    page: &'a str,
    parts: Vec<Part>,
    /// Closing tags that are due.
    out: Vec<&'static str>,
    /// A code block: its info string and its text so far.
    code: Option<(String, String)>,
    /// A heading: its text so far.
    heading: Option<String>,
    in_head: bool,
}

impl Writer<'_> {
    fn put(&mut self, text: &str) {
        if let Some(part) = self.parts.last_mut() {
            part.content.push_str(text);
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.open(tag),
            Event::End(tag) => self.close(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(text) if self.heading.is_some() => self.text(&text),
            Event::Code(text) => self.put(&format!("<literal>{}</literal>", escaped(&text))),
            Event::SoftBreak | Event::HardBreak => self.text("\n"),
            // Marks of generated parts.
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        match (&mut self.heading, &mut self.code) {
            (Some(heading), _) => heading.push_str(text),
            (_, Some((_, code))) => code.push_str(text),
            _ => self.put(&escaped(text)),
        }
    }

    fn open(&mut self, tag: Tag<'_>) {
        let (start, end): (String, &'static str) = match tag {
            Tag::Heading { .. } => {
                self.heading = Some(String::new());
                return;
            }
            Tag::CodeBlock(kind) => {
                let info = if let CodeBlockKind::Fenced(info) = kind { info.to_string() } else { String::new() };
                self.code = Some((info, String::new()));
                return;
            }
            // An item of a list has its one paragraph already.
            Tag::Paragraph if self.out.contains(&ITEM_END) => (String::new(), ""),
            Tag::Paragraph => ("<para>".into(), "</para>\n"),
            Tag::List(Some(_)) => ("<orderedlist>\n".into(), "</orderedlist>\n"),
            Tag::List(None) => ("<itemizedlist>\n".into(), "</itemizedlist>\n"),
            Tag::Item => ("<listitem><para>".into(), ITEM_END),
            Tag::Emphasis => ("<emphasis>".into(), "</emphasis>"),
            Tag::Strong => ("<emphasis role=\"strong\">".into(), "</emphasis>"),
            Tag::Link { dest_url, .. } if dest_url.contains("://") => {
                (format!("<ulink url=\"{}\">", escaped(&dest_url)), "</ulink>")
            }
            Tag::Link { dest_url, .. } => {
                let target = match dest_url.strip_prefix('#') {
                    Some(anchor) => format!("{}#{anchor}", self.page),
                    None => dest_url.to_string(),
                };
                let start = format!("<link linkend=\"link:{target}\">");
                if let Some(part) = self.parts.last_mut() {
                    part.links.push(target);
                }
                (start, "</link>")
            }
            Tag::Table(columns) => {
                (format!("<informaltable><tgroup cols=\"{}\">\n", columns.len()), "</tbody></tgroup></informaltable>\n")
            }
            Tag::TableHead => {
                self.in_head = true;
                ("<thead><row>".into(), "</row></thead>\n<tbody>\n")
            }
            Tag::TableRow => ("<row>".into(), "</row>\n"),
            Tag::TableCell => ("<entry>".into(), "</entry>"),
            _ => (String::new(), ""),
        };
        self.put(&start);
        self.out.push(end);
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => self.section(level),
            TagEnd::CodeBlock => self.listing(),
            _ => {
                let end = self.out.pop().unwrap_or_default();
                self.put(end);
            }
        }
    }

    fn section(&mut self, level: HeadingLevel) {
        let heading = self.heading.take().unwrap_or_default();
        let level = level as u8;
        let address = if level == 1 { self.page.to_owned() } else { format!("{}#{}", self.page, slug(&heading)) };
        let (content, synopsis, links) = Default::default();
        self.parts.push(Part { level, heading, address, content, synopsis, links });
    }

    fn listing(&mut self) {
        let Some((info, code)) = self.code.take() else { return };
        let Some(part) = self.parts.last_mut() else { return };
        if info == "synopsis" {
            part.synopsis = code.lines().map(str::to_owned).collect();
            return;
        }
        let listing = format!("<programlisting format=\"linespecific\">\n{}</programlisting>\n", escaped(&code));
        match usage(self.page, &part.heading, &info) {
            Some(title) => {
                let _ = write!(part.content, "<example>\n<title>{title}</title>\n{listing}</example>\n");
            }
            None => part.content.push_str(&listing),
        }
    }
}

/// Title of an example in the section of a parameter or function.
fn usage(page: &str, heading: &str, info: &str) -> Option<String> {
    let id = id(page, heading);
    match (info.split(' ').next(), id.split('.').nth(1)) {
        (Some("kamailio"), Some("p")) => Some(format!("Set <varname>{heading}</varname> parameter")),
        (Some("kamailio"), Some("f")) => Some(format!("<function moreinfo=\"none\">{heading}</function> usage")),
        _ => None,
    }
}
