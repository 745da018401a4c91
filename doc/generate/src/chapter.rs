//! `kazoo_admin.xml`: the pages as one DocBook chapter, in the order of Kamailio's module manuals.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::Error;
use crate::docbook::{self, Part, escaped};
use crate::pages::Page;

/// A top-level section of the chapter.
enum Plan {
    /// What is left of a page when the [`Plan::Section`]s have been taken out of it.
    Rest(&'static str),
    /// One section of a page, by its heading, with a title of its own.
    Section(&'static str, &'static str, &'static str),
}

const PLAN: &[Plan] = &[
    Plan::Rest("overview.md"),
    Plan::Section("overview.md", "Dependencies", "Dependencies"),
    Plan::Rest("parameters.md"),
    Plan::Rest("functions.md"),
    Plan::Section("variables.md", "Variables", "Exported pseudo-variables"),
    Plan::Section("variables.md", "Transformations", "Transformations"),
    Plan::Rest("variables.md"),
    Plan::Rest("events.md"),
    Plan::Rest("subscriptions.md"),
    Plan::Rest("presence.md"),
    Plan::Rest("kemi.md"),
    Plan::Section("monitoring.md", "RPC commands", "RPC commands"),
    Plan::Section("monitoring.md", "Statistics", "Statistics"),
    Plan::Rest("monitoring.md"),
    Plan::Rest("coming-from-the-c-module.md"),
];

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<!DOCTYPE chapter PUBLIC \"-//OASIS//DTD DocBook XML V4.4//EN\"
\t\"http://www.oasis-open.org/docbook/xml/4.4/docbookx.dtd\">
<!-- Written by `make doc` from the pages in doc/ and the tables in the code. Changes go there. -->
<chapter>
<title>Admin Guide</title>
";

/// The chapter.
pub fn write(pages: &[Page]) -> Result<String, Error> {
    let mut parts: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
    for page in pages {
        parts.insert(&page.name, docbook::parts(&page.name, &page.text));
    }
    let ids = addresses(&parts);
    let mut out = HEAD.to_owned();
    for plan in PLAN {
        match plan {
            Plan::Section(page, heading, title) => {
                let mut section = section_of(parts.get(page).map_or(&[][..], Vec::as_slice), page, heading)?;
                (*title).clone_into(&mut section[0].heading);
                append(&mut out, page, &section, &ids)?;
            }
            Plan::Rest(page) => append(&mut out, page, &rest_of(&parts, page), &ids)?,
        }
    }
    out.push_str("</chapter>\n");
    Ok(out)
}

/// Id of every address that a link can lead to.
fn addresses(parts: &BTreeMap<&str, Vec<Part>>) -> BTreeMap<String, String> {
    let all = parts.iter().flat_map(|(page, parts)| parts.iter().map(move |part| (page, part)));
    all.map(|(page, part)| (part.address.clone(), docbook::id(page, &part.heading))).collect()
}

/// The section `heading` with its subsections, one level higher.
fn section_of(parts: &[Part], page: &str, heading: &str) -> Result<Vec<Part>, Error> {
    let missing = || Error::Page { page: page.to_owned(), what: format!("has no section \"{heading}\"") };
    let start = parts.iter().position(|part| part.level == 2 && part.heading == heading).ok_or_else(missing)?;
    let end = parts[start + 1..].iter().position(|part| part.level <= 2).map_or(parts.len(), |n| start + 1 + n);
    let raised = |part: &Part| Part { level: part.level - 1, ..part.clone() };
    Ok(parts[start..end].iter().map(raised).collect())
}

fn rest_of(parts: &BTreeMap<&str, Vec<Part>>, page: &str) -> Vec<Part> {
    let is_taken = |heading: &str| {
        PLAN.iter().any(|plan| matches!(plan, Plan::Section(of, name, _) if *of == page && *name == heading))
    };
    let mut inside = false;
    let mut rest = parts.get(page).cloned().unwrap_or_default();
    rest.retain(|part| {
        if part.level <= 2 {
            inside = part.level == 2 && is_taken(&part.heading);
        }
        !inside
    });
    rest
}

/// Nests the parts by their levels.
fn append(out: &mut String, page: &str, parts: &[Part], ids: &BTreeMap<String, String>) -> Result<(), Error> {
    let mut open: Vec<u8> = Vec::new();
    for part in parts {
        while open.last().is_some_and(|level| *level >= part.level) {
            open.pop();
            out.push_str("</section>\n");
        }
        open.push(part.level);
        let id = ids.get(&part.address).cloned().unwrap_or_default();
        let _ = write!(out, "<section id=\"{id}\">\n<title>{}</title>\n", title(part, &id));
        out.push_str(&linked(page, part, ids)?);
    }
    out.push_str(&"</section>\n".repeat(open.len()));
    Ok(())
}

/// The title with the tags that Kamailio's manuals put around names.
fn title(part: &Part, id: &str) -> String {
    let heading = escaped(&part.heading);
    match id.split('.').nth(1) {
        Some("p") => format!("<varname>{heading}</varname> ({})", crate::parameters::kind_of(&part.heading)),
        Some("f") => {
            let form = part.synopsis.first().unwrap_or(&part.heading);
            format!("<function moreinfo=\"none\">{}</function>", escaped(form))
        }
        Some("v" | "t") => format!("<varname>{heading}</varname>"),
        Some("e" | "r") => format!("<function moreinfo=\"none\">{heading}</function>"),
        _ => heading,
    }
}

/// The content with its links resolved, after the forms that are not in the title.
fn linked(page: &str, part: &Part, ids: &BTreeMap<String, String>) -> Result<String, Error> {
    let mut content = String::new();
    if part.synopsis.len() > 1 {
        let forms = escaped(&part.synopsis.join("\n"));
        let _ = write!(content, "<programlisting format=\"linespecific\">\n{forms}\n</programlisting>\n");
    }
    content.push_str(&part.content);
    for target in &part.links {
        let broken = || Error::Page { page: page.to_owned(), what: format!("links to {target}, which is not there") };
        // The index and the pages for developers are no part of the chapter.
        let is_elsewhere = target.starts_with("../") || target.starts_with("README.md") || *target == "architecture.md";
        let place = format!("<link linkend=\"link:{target}\">");
        content = match ids.get(target) {
            Some(id) if !is_elsewhere => content.replacen(&place, &format!("<link linkend=\"{id}\">"), 1),
            _ if is_elsewhere => without_link(&content, &place),
            _ => return Err(broken()),
        };
    }
    Ok(content)
}

/// Text instead of a link.
fn without_link(content: &str, place: &str) -> String {
    let Some((before, after)) = content.split_once(place) else { return content.to_owned() };
    let (text, after) = after.split_once("</link>").unwrap_or((after, ""));
    format!("{before}{text}{after}")
}
