//! A row for every value that is refused.

use std::time::Duration;

use tower_retry_classify::{
    Backoff, Category, Class, ClassPolicy, ConfigError, Fault, FaultLayer, Jitter, Learning,
    Profile, Quota, ReplayLog, RetryBudget, RetryBuilder, RetryPolicy, Rule, RuleSet, Rules, Share,
    Strategy,
};

use crate::support::*;

const LONG: Duration = Duration::from_nanos(86_400_000_000_001);
const TOLD: &str = "86400.000000001s";
const NAMED: &str = "a name that no built-in class has";
const FACTOR: &str = "from 1 to 1000";
const CAP: &str = "from the first delay, 31s, to 86400 s";

/// What is wrong, of which class, what was given, what is allowed.
pub(super) type Case = (ConfigError, &'static str, Option<Class>, &'static str, &'static str);

pub(super) fn http() -> RetryBuilder<Request, Response> {
    RetryPolicy::http()
}

pub(super) fn wrong(builder: RetryBuilder<Request, Response>) -> ConfigError {
    builder.build().unwrap_err()
}

fn backoffs() -> Vec<(Backoff, &'static str, &'static str, &'static str)> {
    let base = "more than 0 s, at most 86400 s";
    let exponential = |factor| Backoff::exponential(seconds(1), factor);
    let mut cases = vec![
        (Backoff::exponential(Duration::ZERO, 2.0), "base", "0ns", base),
        (Backoff::linear(Duration::ZERO), "base", "0ns", base),
        (Backoff::exponential(LONG, 2.0), "base", TOLD, base),
        (Backoff::linear(LONG), "base", TOLD, base),
        (Backoff::constant(LONG), "delay", TOLD, "from 0 s to 86400 s"),
        (Backoff::exponential(seconds(31), 2.0), "cap", "30s", CAP),
        (Backoff::linear(seconds(31)), "cap", "30s", CAP),
        (Backoff::constant(seconds(31)), "cap", "30s", CAP),
        (Backoff::constant(seconds(31)).cap(Duration::ZERO), "cap", "0ns", CAP),
        (Backoff::linear(seconds(31)).cap(LONG), "cap", TOLD, CAP),
        (Backoff::none().cap(LONG), "cap", TOLD, "from the first delay, 0ns, to 86400 s"),
        (Backoff::none().jitter(Jitter::Fraction(f64::NAN)), "jitter", "NaN", "from 0 to 1"),
    ];
    for (factor, value) in [
        (0.99, "0.99"),
        (0.0, "0"),
        (-2.0, "-2"),
        (1_000.1, "1000.1"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
    ] {
        cases.push((exponential(factor), "factor", value, FACTOR));
        let strategy = Strategy::Exponential { base: seconds(1), factor };
        cases.push((Backoff::new(strategy), "factor", value, FACTOR));
    }
    for (fraction, value) in
        [(-0.1, "-0.1"), (1.1, "1.1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")]
    {
        let jittered = exponential(2.0).jitter(Jitter::Fraction(fraction));
        cases.push((jittered, "jitter", value, "from 0 to 1"));
    }
    cases
}

/// The policy's own back-off, that of a profile and that of a class.
fn delays() -> Vec<Case> {
    let class = Some(Class::Server);
    let all = backoffs().into_iter().flat_map(|(backoff, field, value, allowed)| {
        let own = ClassPolicy::new().backoff(backoff);
        [
            (wrong(http().backoff(backoff)), field, None, value, allowed),
            (
                wrong(http().profile(Profile { max_retries: 1, backoff })),
                field,
                None,
                value,
                allowed,
            ),
            (wrong(http().class(Class::Server, own)), field, class, value, allowed),
        ]
    });
    all.collect()
}

fn policies() -> Vec<Case> {
    let twice = http().class(Class::Server, ClassPolicy::new());
    let twice = wrong(twice.class(Class::Server, ClassPolicy::never()));
    let class = |class| wrong(http().class(class, ClassPolicy::never()));
    let (none, built_in) = (Class::Custom(""), Class::Custom("server"));
    let mut cases = vec![
        (wrong(RetryPolicy::builder()), "classify", None, "no classifier", "at least one"),
        (twice, "class", Some(Class::Server), "given twice", "once"),
        (class(none), "class", None, "\"\"", NAMED),
        (class(built_in), "class", None, "\"server\"", NAMED),
    ];
    let learning = |learning| wrong(http().learning(learning));
    for (time, value) in
        [(Duration::ZERO, "0ns"), (Duration::from_millis(999), "999ms"), (LONG, TOLD)]
    {
        let error = learning(Learning::new().half_life(time));
        cases.push((error, "half_life", None, value, "from 1 s to 86400 s"));
    }
    for (factor, value) in [(0.9, "0.9"), (100.5, "100.5"), (f64::NAN, "NaN"), (-1.0, "-1")] {
        let error = learning(Learning::new().max_factor(factor));
        cases.push((error, "max_factor", None, value, "from 1 to 100"));
    }
    cases
}

fn budgets() -> Vec<Case> {
    let quota = |quota| wrong(http().budget(RetryBudget::new(quota)));
    // Outside of a runtime, so the share's clock is the system's.
    let share = |share| wrong(http().budget(RetryBudget::share(share)));
    let none = share(Share::FINAGLE.ratio(0.0).per_second(0));
    let most = "from 0 to the capacity, 500";
    let empty = quota(Quota::AWS.capacity(0).timeout_cost(0));
    let mut cases = vec![
        (quota(Quota::AWS.cost(501)), "cost", None, "501", most),
        (quota(Quota::AWS.timeout_cost(u32::MAX)), "timeout_cost", None, "4294967295", most),
        (quota(Quota::AWS.capacity(9)), "timeout_cost", None, "10", "from 0 to the capacity, 9"),
        (empty, "cost", None, "5", "from 0 to the capacity, 0"),
        (none, "per_second", None, "0", "at least 1, as the ratio is 0"),
    ];
    for (ratio, value) in [
        (-0.1, "-0.1"),
        (0.000_9, "0.0009"),
        (1_000.1, "1000.1"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
    ] {
        let error = share(Share::FINAGLE.ratio(ratio));
        cases.push((error, "ratio", None, value, "0, or from 0.001 to 1000"));
    }
    for (window, value) in [(0, "0ns"), (999, "999ms"), (60_001, "60.001s")] {
        let error = share(Share::FINAGLE.window(Duration::from_millis(window)));
        cases.push((error, "window", None, value, "from 1 s to 60 s"));
    }
    cases
}

fn faults_and_logs() -> Vec<Case> {
    let faults = FaultLayer::<Response>::builder;
    let mut cases = Vec::new();
    for (part, value) in [
        (-0.1, "-0.1"),
        (1.1, "1.1"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ] {
        let error = faults().chance(part, Fault::Hang).build().unwrap_err();
        cases.push((error, "chance", None, value, "from 0 to 1"));
    }
    let error = faults().chance(0.75, Fault::Hang).chance(0.5, Fault::Hang).build().unwrap_err();
    cases.push((error, "chance", None, "1.25", "at most 1 in sum"));
    for (capacity, value) in [(0, "0"), (100_001, "100001")] {
        let error = ReplayLog::<()>::new(capacity, seconds(1)).unwrap_err();
        cases.push((error, "capacity", None, value, "from 1 to 100,000"));
    }
    for (age, value) in [(Duration::ZERO, "0ns"), (LONG, TOLD)] {
        let error = ReplayLog::<()>::new(1, age).unwrap_err();
        cases.push((error, "max_age", None, value, "above zero, at most a day"));
    }
    cases
}

pub(super) fn rule(change: impl FnOnce(&mut Rule)) -> Rule {
    let mut rule = Rule::new(Category::Recoverable, "server");
    rule.status = vec![500];
    change(&mut rule);
    rule
}

/// The field of a rule, what was given, what is allowed.
pub(super) fn rules() -> Vec<(Rule, &'static str, &'static str, &'static str)> {
    let long = || "x".repeat(257);
    let bytes = "from 1 to 256 bytes";
    let codes = "without `#`, `:`, `;` and outer spaces, as codes are read";
    let header = "`name` or `name: part of the value`";
    let error = "an error has no status, code, body or header";
    let beside = "beside a condition on answers";
    let after = "from 0 to 31622400, and only for what is recoverable";
    let classes = "one of rate_limit, server, timeout, connect, connection, auth, forbidden, \
        banned, quota, bad_request, not_found, body, degraded, other, mine";
    let nothing = "one of status, code, body, header, error";
    let never = rule(|it| {
        it.category = Category::NonRecoverable;
        it.after_seconds = Some(1);
    });
    vec![
        (rule(|it| it.status.clear()), "status", "nothing", nothing),
        (rule(|it| it.status = vec![99]), "status", "99", "from 100 to 999"),
        (rule(|it| it.status = vec![500, 1_000]), "status", "1000", "from 100 to 999"),
        (rule(|it| it.code = vec![String::new()]), "code", "0 bytes", bytes),
        (rule(|it| it.code = vec!["#".repeat(257)]), "code", "257 bytes", bytes),
        (rule(|it| it.code = vec!["aws#SlowDown".into()]), "code", "aws#SlowDown", codes),
        (rule(|it| it.code = vec!["SlowDown:".into()]), "code", "SlowDown:", codes),
        (rule(|it| it.code = vec!["SlowDown;".into()]), "code", "SlowDown;", codes),
        (rule(|it| it.code = vec![" SlowDown".into()]), "code", " SlowDown", codes),
        (rule(|it| it.body = Some(String::new())), "body", "0 bytes", bytes),
        (rule(|it| it.body = Some(long())), "body", "257 bytes", bytes),
        (rule(|it| it.header = Some(String::new())), "header", "", header),
        (rule(|it| it.header = Some(": x".into())), "header", "", header),
        (rule(|it| it.header = Some("no name".into())), "header", "no name", header),
        (rule(|it| it.header = Some(long())), "header", "257 bytes", bytes),
        (rule(|it| it.method = vec!["G T".into()]), "method", "G T", "the name of a method"),
        (rule(|it| it.method = vec![String::new()]), "method", "", "the name of a method"),
        (rule(|it| it.path = Some(String::new())), "path", "0 bytes", bytes),
        (rule(|it| it.path = Some(long())), "path", "257 bytes", bytes),
        (rule(|it| it.path = Some("deals".into())), "path", "deals", "begins with `/`"),
        (rule(|it| it.error = Some("reset".into())), "error", beside, error),
        (rule(|it| it.class = "sever".into()), "class", "sever", classes),
        (rule(|it| it.class = String::new()), "class", "", classes),
        (rule(|it| it.after_seconds = Some(31_622_401)), "after_seconds", "31622401", after),
        (never, "after_seconds", "1", after),
    ]
}

pub(super) fn wrong_rules(rules: Vec<Rule>, own: &[Class]) -> ConfigError {
    Rules::new(RuleSet::new(rules), own).unwrap_err()
}

fn rule_sets() -> Vec<Case> {
    let own = |own| wrong_rules(vec![rule(|_| {})], &[Class::Custom("mine"), own]);
    let many = wrong_rules(vec![rule(|_| {}); 1_001], &[]);
    vec![
        (many, "error_categories", None, "1001", "at most 1000 rules"),
        (own(Class::Custom("")), "own[1]", None, "\"\"", NAMED),
        (own(Class::Custom("server")), "own[1]", None, "\"server\"", NAMED),
    ]
}

pub(super) fn all() -> Vec<Case> {
    let mut all = [delays(), policies(), budgets(), faults_and_logs(), rule_sets()].concat();
    all.extend(rules().into_iter().map(|(wrong, field, value, allowed)| {
        // Behind one that is right, to see which is meant.
        let error = wrong_rules(vec![rule(|_| {}), wrong], &[Class::Custom("mine")]);
        (error, field, None, value, allowed)
    }));
    all
}
