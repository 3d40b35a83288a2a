//! What a stored clip says of the request it was made for, in its object metadata (CONTRACT.md section 4): by it a
//! repeated request is recognized.

use std::collections::HashMap;

use crate::metadata::PictureFormat;
use crate::request::Request;
use crate::settings::Settings;
use crate::time::{Span, Timestamp};

/// Changes whenever the same request would give other bytes.
const RECIPE: &str = "2";
const GAPS: &str = "gaps";
const NONE: &str = "none";
/// S3 holds 2 KB of user-defined metadata an object (`PutObject`, "User-defined object metadata").
const LONGEST_GAPS: usize = 1500;

/// The metadata of everything that is stored for a request, but for its gaps, which only the footage tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim(HashMap<String, String>);

impl Claim {
    /// The claim of `request`.
    #[must_use]
    pub fn of(request: &Request, settings: &Settings) -> Self {
        Self::new(request, &settings.thumbnail_sizes, settings.thumbnail_format)
    }

    fn new(request: &Request, widths: &[u32], format: PictureFormat) -> Self {
        let widths: Vec<String> = widths.iter().map(u32::to_string).collect();
        let named = [
            ("clip", request.clip_id.clone()),
            ("camera", request.camera_id.clone()),
            ("start-ms", request.span.start().as_ms().to_string()),
            ("end-ms", request.span.end().as_ms().to_string()),
            ("sizes", widths.join(" ")),
            ("format", format.extension().to_owned()),
            ("recipe", RECIPE.to_owned()),
        ];
        Self(named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// With the gaps, as it is stored. Too many to be written are not: such a clip is made anew when asked for again.
    #[must_use]
    pub fn with_gaps(&self, gaps: &[Span]) -> HashMap<String, String> {
        let written: Vec<String> =
            gaps.iter().map(|gap| format!("{}-{}", gap.start().as_ms(), gap.end().as_ms())).collect();
        let written = match written.join(",") {
            none if none.is_empty() => NONE.to_owned(), // an empty header may get lost on its way
            many if many.len() > LONGEST_GAPS => "many".to_owned(),
            written => written,
        };
        let mut metadata = self.0.clone();
        metadata.insert(GAPS.to_owned(), written);
        metadata
    }

    /// Whether `metadata` is of the same request.
    #[must_use]
    pub fn is_of(&self, metadata: &HashMap<String, String>) -> bool {
        self.0.iter().all(|(name, value)| metadata.get(name) == Some(value))
    }
}

/// The gaps that stored metadata names; `None` if it names none that can be read.
#[must_use]
pub fn gaps_of(metadata: &HashMap<String, String>) -> Option<Vec<Span>> {
    let gap = |text: &str| {
        let (start, end) = text.split_once('-')?;
        Span::new(Timestamp::from_ms(start.parse().ok()?)?, Timestamp::from_ms(end.parse().ok()?)?)
    };
    match metadata.get(GAPS)?.as_str() {
        NONE => Some(Vec::new()),
        gaps => gaps.split(',').map(gap).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::request;

    fn gap(from: i64, to: i64) -> Span {
        Span::new(Timestamp::from_ms(from).expect("valid"), Timestamp::from_ms(to).expect("valid")).expect("in order")
    }

    #[test]
    fn gaps_survive_being_stored() {
        let claim = Claim::new(&request(5, 1700), &[300], PictureFormat::Png);
        for gaps in [vec![], vec![gap(7, 11)], vec![gap(7, 11), gap(1300, 1700)]] {
            let stored = claim.with_gaps(&gaps);
            assert_eq!(gaps_of(&stored), Some(gaps));
            assert!(claim.is_of(&stored));
        }
    }

    #[test]
    fn more_gaps_than_s3_holds_are_not_taken_for_none() {
        let gaps: Vec<Span> = (0..200).map(|n| gap(n * 10 + 1_537_119_363_000, n * 10 + 1_537_119_363_007)).collect();
        let stored = Claim::new(&request(5, 7), &[300], PictureFormat::Png).with_gaps(&gaps);
        assert!(stored.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() < 2048);
        assert_eq!(gaps_of(&stored), None);
    }

    #[test]
    fn another_request_is_told_apart() {
        let claim = Claim::new(&request(5, 7), &[300, 640], PictureFormat::Png);
        for other in [
            Claim::new(&request(5, 8), &[300, 640], PictureFormat::Png),
            Claim::new(&request(5, 7), &[300], PictureFormat::Png),
            Claim::new(&request(5, 7), &[300, 640], PictureFormat::Jpg),
        ] {
            assert!(!claim.is_of(&other.with_gaps(&[])));
        }
        assert!(!claim.is_of(&HashMap::new()));
    }
}
