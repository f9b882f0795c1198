use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::{Category, Verdict};

/// Rules as they stand in a file, in order: the first that fits decides.
///
/// Read it with feature `serde` from any format; the field is `error_categories`. Formats' own errors quote what they
/// found (that of `toml` the whole line): if the file might be another than the one that was meant, show their places only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct RuleSet {
    /// The rules. 1,000 at most.
    #[cfg_attr(feature = "serde", serde(default))]
    pub error_categories: Vec<Rule>,
}

impl RuleSet {
    /// Of these rules.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { error_categories: rules.into_iter().collect() }
    }
}

/// What an outcome must be like, and what it then is.
///
/// All conditions that are given must hold. At least one of `status`, `code`, `body`,
/// `header` and `error` must be given. Texts are compared without regard to case.
///
/// ```
/// use tower_retry_classify::{Category, Class, Rule, RuleSet, Rules};
///
/// let mut busy = Rule::new(Category::Recoverable, "rate_limit");
/// busy.status = vec![420];
/// let rules = Rules::new(RuleSet::new([busy]), &[])?;
/// assert_eq!(rules.len(), 1);
/// # Ok::<(), tower_retry_classify::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct Rule {
    /// For those who read the file.
    #[cfg_attr(feature = "serde", serde(default))]
    pub name: String,
    /// One of these statuses, 100 to 999.
    #[cfg_attr(feature = "serde", serde(default))]
    pub status: Vec<u16>,
    /// One of these error codes, as AWS and many JSON APIs give them in the body
    /// (`"code"`, `"__type"`, `<Code>`), without what may stand around it: no `#`, `:` or `;`.
    /// The body must have been [peeked at](crate::Peeked).
    #[cfg_attr(feature = "serde", serde(default))]
    pub code: Vec<String>,
    /// What the start of the body contains. It must have been [peeked at](crate::Peeked).
    #[cfg_attr(feature = "serde", serde(default))]
    pub body: Option<String>,
    /// A header that the answer has, `name` or `name: part of the value`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub header: Option<String>,
    /// What the text of an error, or of one of its causes, contains.
    #[cfg_attr(feature = "serde", serde(default))]
    pub error: Option<String>,
    /// One of these methods.
    #[cfg_attr(feature = "serde", serde(default))]
    pub method: Vec<String>,
    /// How the path begins; so it begins with `/`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub path: Option<String>,
    /// Whether to try again.
    pub category: Category,
    /// What kind of failure it is: the [name](crate::Class::name) of a class.
    pub class: String,
    /// How long to wait before the next attempt. At most a year. Not for what is not retried.
    #[cfg_attr(feature = "serde", serde(default))]
    pub after_seconds: Option<u64>,
}

impl Rule {
    /// A rule that has no condition yet.
    #[must_use]
    pub fn new(category: Category, class: impl Into<String>) -> Self {
        Self {
            name: String::new(),
            status: Vec::new(),
            code: Vec::new(),
            body: None,
            header: None,
            error: None,
            method: Vec::new(),
            path: None,
            category,
            class: class.into(),
            after_seconds: None,
        }
    }
}

/// A rule that was found right; its texts are in lower case.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) status: Vec<u16>,
    pub(super) code: Vec<String>,
    pub(super) body: Option<String>,
    pub(super) header: Option<(HeaderName, String)>,
    pub(super) error: Option<String>,
    pub(super) method: Vec<Method>,
    pub(super) path: Option<String>,
    pub(super) verdict: Verdict,
}

impl Compiled {
    /// Whether an answer of 2xx could fit.
    pub(super) fn sees_successes(&self) -> bool {
        let status = self.status.is_empty() || self.status.iter().any(|it| (200..300).contains(it));
        self.error.is_none() && status
    }

    pub(super) fn fits_request(&self, method: &Method, path: &str) -> bool {
        let known = self.method.is_empty() || self.method.contains(method);
        known && self.path.as_ref().is_none_or(|start| path.starts_with(start.as_str()))
    }

    pub(super) fn fits_response<'a>(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        start: &[u8],
        code: impl Fn() -> Option<&'a str>,
    ) -> bool {
        if self.error.is_some() {
            return false;
        }
        (self.status.is_empty() || self.status.contains(&status.as_u16()))
            && self.header.as_ref().is_none_or(|(name, part)| {
                headers.get_all(name).iter().any(|value| contains(value.as_bytes(), part))
            })
            && (self.code.is_empty() || code().is_some_and(|code| self.has_code(code)))
            && self.body.as_ref().is_none_or(|part| contains(start, part))
    }

    fn has_code(&self, code: &str) -> bool {
        self.code.iter().any(|known| known.eq_ignore_ascii_case(code))
    }

    /// `texts` in lower case.
    pub(super) fn fits_error(&self, texts: &[String]) -> bool {
        self.error
            .as_ref()
            .is_some_and(|part| texts.iter().any(|text| text.contains(part.as_str())))
    }
}

/// `part` in lower case.
fn contains(text: &[u8], part: &str) -> bool {
    part.is_empty()
        || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}
