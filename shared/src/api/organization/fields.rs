//! The fields of the bodies with which super admins add organizations, users and API keys.

use crate::api::body::{Fields, is_line};
use crate::domain::mail::is_mail_address;

pub(super) const MAX_NAME_CHARS: usize = 100;
const NAME_RULE: &str = "must be 1 to 100 characters without control characters, not all blank";

pub(super) fn name(fields: &mut Fields, field: &'static str) -> Option<String> {
    let name = fields.text(field, NAME_RULE, |text| is_line(text, MAX_NAME_CHARS))?;
    Some(name.trim().to_owned())
}

pub(super) fn optional_name(fields: &mut Fields, field: &'static str) -> Option<String> {
    let name = fields.optional_text(field, NAME_RULE, |text| is_line(text, MAX_NAME_CHARS))?;
    Some(name.trim().to_owned())
}

/// In lower case.
pub(super) fn mail_address(fields: &mut Fields, field: &'static str) -> Option<String> {
    let address = fields.text(field, "must be a mail address", is_mail_address)?;
    Some(address.to_lowercase())
}
