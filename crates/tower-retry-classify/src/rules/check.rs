use std::time::Duration;

use http::{HeaderName, Method};

use super::set::{Compiled, Rule, RuleSet};
use crate::{Category, Class, ConfigError, Problem, Verdict, aws, config_error::is_told_apart};

const MOST_RULES: usize = 1_000;
/// Of one text, in bytes.
const LONGEST_TEXT: usize = 256;
/// Of a wrong text that is shown, in characters. The file may not be the one that was meant.
const LONGEST_SHOWN: usize = 40;
const LONGEST_WAIT: u64 = 366 * 24 * 60 * 60;

pub(super) fn compile(set: RuleSet, own: &[Class]) -> Result<Vec<Compiled>, ConfigError> {
    let rules = set.error_categories;
    let mut problems = Vec::new();
    for (place, class) in own.iter().enumerate().filter(|(_, class)| !is_told_apart(**class)) {
        let value = format!("{:?}", class.name());
        let allowed = "a name that no built-in class has";
        problems.push(Problem::new(format!("own[{place}]"), value, allowed));
    }
    if rules.len() > MOST_RULES {
        let allowed = format!("at most {MOST_RULES} rules");
        problems.push(Problem::new("error_categories", rules.len(), allowed));
    }
    let mut compiled = Vec::new();
    for (place, rule) in rules.into_iter().enumerate().take(MOST_RULES) {
        compiled.extend(one(place, rule, own, &mut problems));
    }
    ConfigError::of(problems)?;
    Ok(compiled)
}

/// `None` if something about it is wrong.
fn one(place: usize, rule: Rule, own: &[Class], problems: &mut Vec<Problem>) -> Option<Compiled> {
    let before = problems.len();
    let mut wrong = |field: &str, value: &dyn std::fmt::Display, allowed: &str| {
        problems.push(Problem::new(format!("error_categories[{place}].{field}"), value, allowed));
    };
    let conditions = [&rule.body, &rule.header, &rule.error];
    if rule.status.is_empty() && rule.code.is_empty() && conditions.iter().all(|it| it.is_none()) {
        wrong("status", &"nothing", "one of status, code, body, header, error");
    }
    for status in rule.status.iter().filter(|status| !(100..=999).contains(*status)) {
        wrong("status", status, "from 100 to 999");
    }
    let codes = rule.code.iter().map(|code| ("code", code));
    let texts = [("body", &rule.body), ("error", &rule.error), ("path", &rule.path)];
    let texts = texts.into_iter().filter_map(|(field, text)| text.as_ref().map(|it| (field, it)));
    for (field, text) in codes.chain(texts) {
        if text.is_empty() || text.len() > LONGEST_TEXT {
            let given = format!("{} bytes", text.len());
            wrong(field, &given, &format!("from 1 to {LONGEST_TEXT} bytes"));
        }
    }
    // What could never fit would be passed over in silence.
    let sized = |text: &&String| !text.is_empty() && text.len() <= LONGEST_TEXT;
    let unread = |code: &&String| sized(code) && aws::bare(code) != Some(code);
    for code in rule.code.iter().filter(unread) {
        wrong("code", code, "without `#`, `:`, `;` and outer spaces, as codes are read");
    }
    if let Some(path) = rule.path.as_ref().filter(|it| sized(it) && !it.starts_with('/')) {
        wrong("path", path, "begins with `/`");
    }
    let of_answers = !rule.status.is_empty()
        || !rule.code.is_empty()
        || rule.body.is_some()
        || rule.header.is_some();
    if rule.error.is_some() && of_answers {
        wrong(
            "error",
            &"beside a condition on answers",
            "an error has no status, code, body or header",
        );
    }
    let header = rule.header.as_ref().and_then(|header| {
        let (name, part) = header.split_once(':').unwrap_or((header, ""));
        let name = name.trim().parse::<HeaderName>();
        if header.len() > LONGEST_TEXT {
            let given = format!("{} bytes", header.len());
            wrong("header", &given, &format!("from 1 to {LONGEST_TEXT} bytes"));
        } else if name.is_err() {
            // The part of the value is nobody's business.
            let name = header.split(':').next().unwrap_or_default();
            wrong("header", &shown(name), "`name` or `name: part of the value`");
        }
        Some((name.ok()?, part.trim().to_ascii_lowercase()))
    });
    let mut method = Vec::new();
    for name in &rule.method {
        match name.to_ascii_uppercase().parse::<Method>() {
            Ok(known) => method.push(known),
            Err(_) => wrong("method", &shown(name), "the name of a method"),
        }
    }
    let classes = || Class::BUILT_IN.into_iter().chain(own.iter().copied());
    let class = classes().find(|class| class.name() == rule.class);
    if class.is_none() {
        let names: Vec<_> = classes().map(Class::name).collect();
        wrong("class", &shown(&rule.class), &format!("one of {}", names.join(", ")));
    }
    let after = rule.after_seconds.map(Duration::from_secs);
    if rule.after_seconds.is_some_and(|after| after > LONGEST_WAIT)
        || (after.is_some() && rule.category != Category::Recoverable)
    {
        let given = rule.after_seconds.unwrap_or_default();
        let allowed = format!("from 0 to {LONGEST_WAIT}, and only for what is recoverable");
        wrong("after_seconds", &given, &allowed);
    }
    if problems.len() > before {
        return None;
    }
    let class = class?;
    let verdict = match rule.category {
        Category::Recoverable => Verdict::Retry { class, after },
        Category::NonRecoverable | Category::Degraded => Verdict::Never { class },
    };
    Some(Compiled {
        status: rule.status,
        code: rule.code,
        body: rule.body.map(|text| text.to_ascii_lowercase()),
        header,
        error: rule.error.map(|text| text.to_ascii_lowercase()),
        method,
        path: rule.path,
        verdict,
    })
}

/// The start of a text.
fn shown(text: &str) -> String {
    let mut rest = text.chars();
    let mut shown: String = rest.by_ref().take(LONGEST_SHOWN).collect();
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}
