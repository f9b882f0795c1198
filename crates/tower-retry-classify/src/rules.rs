//! Classification by rules that users edit, and that change while the program runs.

mod check;
mod set;

use std::{
    cell::LazyCell,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http::{Request, Response};

pub use self::set::{Rule, RuleSet};
use crate::{BoxError, Class, Classify, ConfigError, Peeked, Verdict, aws, error::cause};

/// Classifies by a [`RuleSet`], which can be replaced at any time. Clones share it.
///
/// The first rule that fits decides; where none fits, there is no opinion. Put it
/// behind the other classifiers, so that its word is the last.
///
/// ```
/// # #[cfg(not(feature = "serde"))] fn main() {}
/// # #[cfg(feature = "serde")] fn main() -> Result<(), tower_retry_classify::BoxError> {
/// use http::{Request, Response};
/// use tower_retry_classify::{Class, Classify, RuleSet, Rules, Verdict};
///
/// let rules = Rules::new(toml::from_str(r#"
///     [[error_categories]]
///     name = "maintenance"
///     status = [503]
///     body = "maintenance"
///     category = "recoverable"
///     class = "maintenance"
///     after_seconds = 60
/// "#)?, &[Class::Custom("maintenance")])?;
///
/// let request = Request::get("/deals").body(())?;
/// let answer = tower_retry_classify::Peeked::note(
///     Response::builder().status(503).body("Down for Maintenance")?,
/// );
/// let verdict = rules.classify(&request, Ok(&answer));
/// assert_eq!(verdict.class(), Some(Class::Custom("maintenance")));
///
/// // The file was edited. Those who hold a clone go by the new rules from now on.
/// rules.replace(toml::from_str(r#"
///     [[error_categories]]
///     status = [503]
///     category = "non_recoverable"
///     class = "server"
/// "#)?)?;
/// assert_eq!(rules.classify(&request, Ok(&answer)), Verdict::never(Class::Server));
///
/// // A set that cannot work changes nothing.
/// let wrong = "[[error_categories]]\nstatus = [7]\ncategory = 'recoverable'\nclass = 'sever'";
/// let error = rules.replace(toml::from_str(wrong)?).unwrap_err();
/// assert_eq!(error.problems()[0].field(), "error_categories[0].status");
/// assert_eq!(error.problems().len(), 2);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Rules {
    shared: Arc<Shared>,
}

struct Shared {
    own: Vec<Class>,
    /// Whether any rule can fit a success, so that most are not looked at.
    successes: AtomicBool,
    /// Written when rules are replaced. Nothing of a user's runs under it.
    rules: RwLock<Vec<set::Compiled>>,
}

impl Rules {
    /// Rules that may name the built-in classes and those of `own`, each by a name of its own.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong with the rules and with `own`.
    pub fn new(set: RuleSet, own: &[Class]) -> Result<Self, ConfigError> {
        let rules = check::compile(set, own)?;
        let shared = Shared {
            own: own.to_vec(),
            successes: AtomicBool::new(rules.iter().any(set::Compiled::sees_successes)),
            rules: RwLock::new(rules),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Goes by other rules from now on. What is being judged ends by the old ones.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong with the rules; then the old ones stay.
    pub fn replace(&self, set: RuleSet) -> Result<(), ConfigError> {
        let rules = check::compile(set, &self.shared.own)?;
        let successes = rules.iter().any(set::Compiled::sees_successes);
        let mut place = self.shared.rules.write().unwrap_or_else(PoisonError::into_inner);
        *place = rules;
        self.shared.successes.store(successes, Relaxed);
        Ok(())
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.rules.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn judge(&self, fits: impl Fn(&set::Compiled) -> bool) -> Verdict {
        let rules = self.shared.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.iter().find(|rule| fits(rule)).map_or(Verdict::NoOpinion, |rule| rule.verdict)
    }
}

impl<A, B> Classify<Request<A>, Response<B>> for Rules {
    fn classify(&self, request: &Request<A>, outcome: Result<&Response<B>, &BoxError>) -> Verdict {
        let asks = |rule: &set::Compiled| rule.fits_request(request.method(), request.uri().path());
        match outcome {
            Ok(answer) if answer.status().is_success() && !self.shared.successes.load(Relaxed) => {
                Verdict::NoOpinion
            }
            Ok(answer) => {
                let start = Peeked::start_of(answer);
                // Looked for once, and only if a rule asks for it.
                let code = LazyCell::new(|| aws::in_body(start));
                let code = || *code;
                self.judge(|rule| {
                    asks(rule) && rule.fits_response(answer.status(), answer.headers(), start, code)
                })
            }
            Err(error) => {
                // Texts are made before the lock is taken: making them is the errors' own code.
                let mut texts = Vec::new();
                let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
                while let Some(error) = next {
                    texts.push(error.to_string().to_ascii_lowercase());
                    next = cause(error);
                }
                self.judge(|rule| asks(rule) && rule.fits_error(&texts))
            }
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("rules", &self.len()).finish_non_exhaustive()
    }
}
