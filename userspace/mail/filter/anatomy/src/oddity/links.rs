//! Oddities of links.

use std::collections::HashSet;

use super::{Found, Oddity};
use crate::anatomy::{Anatomy, Surroundings};
use crate::brand::{Borrowed, Brands};
use crate::disguise::Disguise;
use crate::limits::Limits;
use crate::link::{Host, Link, Place, Scheme, host_in_text, is_shortener, is_tracker, registrable};

/// Those that count readers have a few hundred octets, and some a thousand.
const LONG: usize = 2_000;

/// `www.shop.country.example.com` has three.
const MANY_LABELS: usize = 5;

pub(super) fn look(anatomy: &Anatomy<'_>, surroundings: &Surroundings<'_>, found: &mut Found) {
    let author = anatomy.header.author_domain();
    let author = author.as_deref().map(|domain| registrable(domain).unwrap_or(domain));
    // Newsletters lead to one host a hundred times.
    let mut known = HashSet::new();
    for link in &anatomy.links {
        scheme(link, found);
        let Some(host) = &link.host else { continue };
        place(link, host, found);
        if let Host::Name { ascii, shown, registrable, .. } = host {
            name(link, ascii, found);
            if is_clicked(link) && known.insert(ascii) {
                letters(ascii, shown, surroundings.brands, found);
            }
            if matches!(link.place, Place::Anchor) {
                promise(link, registrable, author, found);
            }
        } else if matches!(link.place, Place::Anchor) && link.seen_host().is_some() {
            found.add(Oddity::FalseLink, difference(link, host));
        }
    }
}

fn scheme(link: &Link, found: &mut Found) {
    let clicked = is_clicked(link);
    match link.scheme {
        Scheme::Data if clicked => found.add(Oddity::DataLink, start(link)),
        Scheme::Script => found.add(Oddity::ScriptLink, start(link)),
        Scheme::File => found.add(Oddity::FileLink, start(link)),
        Scheme::Broken if clicked && is_meant(link) => found.add(Oddity::BrokenLink, start(link)),
        _ => {}
    }
    found.add_if(clicked && link.written.len() > LONG, Oddity::LongLink);
}

/// Whether somebody meant it: templates that were not filled in are sent every day.
fn is_meant(link: &Link) -> bool {
    !link.written.contains(['{', '[', '%', '<'])
}

fn start(link: &Link) -> &str {
    crate::limits::head(&link.written, 80)
}

fn place(link: &Link, host: &Host, found: &mut Found) {
    if link.user {
        found.add(Oddity::UserInLink, start(link));
    }
    if let Host::Address { disguised, .. } = host {
        if *disguised {
            found.add(Oddity::DisguisedAddress, format_args!("{} is {}", start(link), host.name()));
        } else if is_clicked(link) {
            found.add(Oddity::AddressLink, host.name());
        }
    }
    if let Some(port) = link.port
        && !matches!(port, 80 | 443 | 8080 | 8443)
    {
        found.add(Oddity::OddPort, format_args!("{} at {port}", host.name()));
    }
}

/// Whether readers follow it, or are taken there.
fn is_clicked(link: &Link) -> bool {
    !matches!(link.place, Place::Image | Place::Loaded)
}

fn name(link: &Link, ascii: &str, found: &mut Found) {
    let Some(Host::Name { labels, registrable, .. }) = &link.host else { return };
    if *labels >= MANY_LABELS {
        found.add(Oddity::ManyLabels, ascii);
    }
    if !is_clicked(link) {
        return;
    }
    if is_shortener(registrable) {
        found.add(Oddity::ShortLink, start(link));
    }
    if let Some(onward) = &link.onward
        && let Some(host) = host_in_text(onward)
        && host.owner() != *registrable
        && !is_tracker(registrable)
    {
        found.add(Oddity::OnwardLink, format_args!("{ascii} leads on to {}", host.name()));
    }
}

/// What the letters of a host are taken for.
fn letters(ascii: &str, shown: &str, brands: &Brands, found: &mut Found) {
    if shown != ascii && Disguise::of(shown, &Limits::default()).mixed > 0 {
        found.add(Oddity::ForeignScripts, format_args!("{shown} ({ascii})"));
    }
    match brands.borrowed(shown, ascii) {
        Some(Borrowed::Looks(brand)) => {
            found.add(Oddity::LookalikeLink, format_args!("{shown} ({ascii}) like {brand}"));
        }
        Some(Borrowed::Contains(brand)) => {
            found.add(Oddity::BrandInLink, format_args!("{brand} in {ascii}"));
        }
        None => {}
    }
}

/// Whether a link leads where it says.
fn promise(link: &Link, owner: &str, author: Option<&str>, found: &mut Found) {
    let Some(seen) = link.seen_host() else { return };
    if seen.owner() == owner || is_tracker(owner) {
        return;
    }
    // Whoever sends his own newsletter counts its readers on a host of his own, and leads on from there.
    if author == Some(owner) || is_shortener(owner) && author == Some(seen.owner().as_str()) {
        return;
    }
    let leads_on = link.onward.as_deref().and_then(host_in_text);
    if leads_on.is_some_and(|host| host.owner() == seen.owner()) {
        return;
    }
    if let Some(host) = &link.host {
        found.add(Oddity::FalseLink, difference(link, host));
    }
}

fn difference(link: &Link, host: &Host) -> String {
    let seen = link.seen_host().map(|seen| seen.name()).unwrap_or_default();
    format!("{seen} leads to {}", host.name())
}
