//! The request header `Accept`. Owns: which media types it names.

use lambda_http::http::HeaderMap;
use rust_decimal::Decimal;

/// The weight that `Accept` gives a media type by its name; 0 if it does not name it. Wildcards name nothing.
#[must_use]
pub fn weight(headers: &HeaderMap, media_type: &str) -> Decimal {
    let values = headers.get_all("accept").iter();
    let ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let weights = ranges.filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_it = parts.next()?.eq_ignore_ascii_case(media_type);
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let weight = weight.map_or(Some(Decimal::ONE), |weight| weight.parse().ok());
        weight.filter(|_| is_it)
    });
    weights.max().unwrap_or_default()
}
