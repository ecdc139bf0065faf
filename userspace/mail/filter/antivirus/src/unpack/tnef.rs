//! Outlook's wrapper, `winmail.dat`: attachments with their titles. MS-OXTNEF section 2.1.3.

use crate::bytes::{at_most, le32, place32};
use crate::name::FileName;
use crate::unpack::{Entry, Facts, Stop, Walk, narrow_name};

const TITLE: u32 = 0x0001_8010;
const DATA: u32 = 0x0006_800f;
/// A new attachment begins.
const RENDERED: u32 = 0x0006_9002;

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let mut at = 6;
    let mut title = String::new();
    let mut data: Option<&[u8]> = None;
    // The level, the attribute, its length, its octets, their sum.
    while let (Some(attribute), Some(length)) = (le32(content, at + 1), place32(content, at + 5)) {
        walk.count()?;
        let value = at_most(content, at + 9, length);
        match attribute {
            RENDERED => {
                if let Some(data) = data.take() {
                    walk.borrow(data.len())?;
                    walk.entry(&Entry::new(std::mem::take(&mut title), data))?;
                }
                title.clear();
            }
            TITLE => title = narrow_name(value),
            DATA => data = Some(value),
            _ => {}
        }
        if value.len() < length {
            facts.broken = true;
            break;
        }
        at = at.saturating_add(11).saturating_add(length).min(content.len());
    }
    if let Some(data) = data {
        walk.borrow(data.len())?;
        walk.entry(&Entry::new(title, data))?;
    }
    Ok(())
}
