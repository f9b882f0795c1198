//! The invented world that the services know: what is searched for, found, sold and made.
//! The pipeline sees none of it but through their answers.

use std::collections::BTreeSet;

const SITES: u64 = 180;
const INDUSTRIES: [&str; 7] =
    ["banking", "cloud", "energy", "logistics", "media", "retail", "software"];

/// A company, as an enricher knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct Company {
    pub(crate) name: String,
    pub(crate) industry: String,
    pub(crate) employees: u64,
}

/// What a domain answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Plain,
    /// Empty without its scripts.
    Scripted,
    /// 404.
    Gone,
    /// Does not answer at all until somebody mends it.
    Broken,
}

/// What there is to search for in a week. Some words are there twice, in other letters, and
/// half of the second week's are those of the first.
pub(crate) fn keywords(week: u64) -> Vec<String> {
    let from = (week - 1) * 40;
    let words = (from..from + 80).map(|n| format!("keyword {n}"));
    let again = (from..from + 10).map(|n| format!("Keyword  {n} "));
    words.chain(again).collect()
}

/// Searches a month; 0 for what nobody looks for.
pub(crate) fn volume(keyword: &str) -> u64 {
    chance("volume", keyword, 10) * 40
}

/// The domains that a search finds.
pub(crate) fn found(keyword: &str) -> Vec<String> {
    let first = chance("found", keyword, SITES);
    (0..6).map(|n| format!("site-{}.example", (first + n * n * 7) % SITES)).collect()
}

/// Videos that a search finds, and the domain that each belongs to.
pub(crate) fn videos(keyword: &str) -> Vec<(String, String)> {
    let first = chance("video", keyword, SITES);
    (0..2)
        .map(|n| (format!("v{first}-{n}"), format!("site-{}.example", (first + n) % SITES)))
        .collect()
}

pub(crate) fn site(domain: &str) -> Site {
    match chance("site", domain, 12) {
        0 => Site::Gone,
        1 => Site::Broken,
        2..=4 => Site::Scripted,
        _ => Site::Plain,
    }
}

/// Whether it belongs to a company, and not to a newspaper or an encyclopedia.
pub(crate) fn sells(domain: &str) -> bool {
    chance("sells", domain, 4) != 0
}

/// The company behind a domain, if anybody knows it.
pub(crate) fn company(domain: &str) -> Option<Company> {
    let number = chance("company", domain, 9_000);
    (!number.is_multiple_of(9)).then(|| Company {
        name: format!("Company {number} Ltd"),
        industry: INDUSTRIES[(number % 7) as usize].to_owned(),
        employees: number,
    })
}

/// What a pipeline over these weeks should have found in the end: domains and companies.
pub(crate) fn truth(weeks: &[u64]) -> BTreeSet<(String, Company)> {
    let words = weeks.iter().flat_map(|week| keywords(*week)).map(|word| tidy(&word));
    let words: BTreeSet<_> = words.filter(|word| volume(word) > 0).collect();
    let domains = words.iter().flat_map(|word| {
        found(word).into_iter().chain(videos(word).into_iter().map(|(_, domain)| domain))
    });
    let there = domains.filter(|domain| site(domain) != Site::Gone && sells(domain));
    there.filter_map(|domain| Some((domain.clone(), company(&domain)?))).collect()
}

/// One spelling for each keyword.
pub(crate) fn tidy(keyword: &str) -> String {
    keyword.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A number below `below` that is always the same for the same words (FNV-1a).
pub(crate) fn chance(what: &str, of: &str, below: u64) -> u64 {
    let bytes = what.bytes().chain([0]).chain(of.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 29)) % below
}
