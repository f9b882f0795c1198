//! Rules from a file.

use http::Response;
use tower_retry_classify::{
    BoxError, Category, Class, Classify, HttpStatus, Peeked, RetryPolicy, Rule, RuleSet, Rules,
    Verdict,
};

use crate::support::{self, *};

const OWN: Class = Class::Custom("maintenance");

fn rule(change: impl FnOnce(&mut Rule)) -> Rules {
    let mut rule = Rule::new(Category::Recoverable, "maintenance");
    change(&mut rule);
    Rules::new(RuleSet::new([rule]), &[OWN]).unwrap()
}

fn answer(status: u16, body: &'static str) -> Response<&'static str> {
    let answer = Response::builder().status(status).header("x-fault", "Quota-Gone");
    Peeked::note(answer.body(body).unwrap())
}

fn fits(rules: &Rules, outcome: Result<&Response<&'static str>, &BoxError>) -> bool {
    match rules.classify(&get(), outcome) {
        Verdict::NoOpinion => false,
        verdict => {
            assert_eq!(verdict, Verdict::retry(OWN));
            true
        }
    }
}

#[test]
fn every_condition_that_is_given_must_hold() {
    let xml = "<Error><Code>Busy</Code></Error> Down For Maintenance";
    let busy = answer(503, xml);
    let other: BoxError = "other".into();
    type Change = fn(&mut Rule);
    let conditions: [(Change, Change); 8] = [
        (|it| it.status = vec![500, 503], |it| it.status = vec![500]),
        (|it| it.code = vec!["busy".into()], |it| it.code = vec!["down".into()]),
        (|it| it.body = Some("for maintenance".into()), |it| it.body = Some("for sale".into())),
        (|it| it.header = Some("X-Fault".into()), |it| it.header = Some("x-fine".into())),
        (
            |it| it.header = Some("x-fault: quota-g".into()),
            |it| it.header = Some("x-fault: quota-h".into()),
        ),
        (|it| it.method = vec!["post".into(), "get".into()], |it| it.method = vec!["post".into()]),
        (|it| it.path = Some("/de".into()), |it| it.path = Some("/org".into())),
        (
            |_| {},
            |it| {
                it.status = vec![];
                it.error = Some("other".into());
            },
        ),
    ];
    for (n, (holds, fails)) in conditions.into_iter().enumerate() {
        let base = |it: &mut Rule| it.status = vec![503];
        assert!(
            fits(
                &rule(|it| {
                    base(it);
                    holds(it)
                }),
                Ok(&busy)
            ),
            "{n}"
        );
        assert!(
            !fits(
                &rule(|it| {
                    base(it);
                    fails(it)
                }),
                Ok(&busy)
            ),
            "{n}"
        );
        assert!(
            !fits(
                &rule(|it| {
                    base(it);
                    holds(it)
                }),
                Err(&other)
            ),
            "{n}"
        );
    }
}

#[test]
fn an_error_is_known_by_its_text_at_any_depth() {
    let inner = std::io::Error::other("Lease Expired at 7");
    let error: BoxError = std::io::Error::other(inner).into();
    let by = |text: &str| rule(|it| it.error = Some(text.into()));
    assert!(fits(&by("lease expired"), Err(&error)));
    assert!(!fits(&by("lease renewed"), Err(&error)));
}

#[test]
fn the_first_rule_that_fits_decides_and_later_ones_stay_silent() {
    let mut first = Rule::new(Category::NonRecoverable, "quota");
    first.status = vec![429];
    first.body = Some("day".into());
    let mut second = Rule::new(Category::Recoverable, "rate_limit");
    second.status = vec![429];
    second.after_seconds = Some(7);
    let mut third = Rule::new(Category::Degraded, "degraded");
    third.status = vec![207];
    let all = RuleSet::new([first, second, third]);
    let rules = Rules::new(RuleSet::default(), &[]).unwrap();
    rules.replace(all.clone()).unwrap();
    let judge = |answer| rules.classify(&get(), Ok(&answer));
    assert_eq!(judge(answer(429, "the day is spent")), Verdict::never(Class::Quota));
    let after = Some(seconds(7));
    assert_eq!(judge(answer(429, "slow")), Verdict::Retry { class: Class::RateLimit, after });
    assert_eq!(judge(answer(207, "")).category(), Some(Category::Degraded));
    assert_eq!(judge(answer(200, "")), Verdict::NoOpinion);
    // The success is looked at only as long as a rule asks for one.
    rules.replace(RuleSet::default()).unwrap();
    assert!(rules.is_empty());
    assert_eq!(judge(answer(207, "")), Verdict::NoOpinion);
    rules.replace(all).unwrap();
    assert_eq!(judge(answer(207, "")).category(), Some(Category::Degraded));
}

#[tokio::test(start_paused = true)]
async fn rules_change_while_a_policy_uses_them() {
    let rules = Rules::new(RuleSet::default(), &[]).unwrap();
    let policy = RetryPolicy::<support::Request, support::Response>::builder()
        .classify(HttpStatus::new())
        .classify(rules.clone())
        .build()
        .unwrap();
    let script = Script::new([status(404)]);
    assert_eq!(script.run(&policy, get()).await.unwrap().status(), 404);
    let mut lagging = Rule::new(Category::Recoverable, "not_found");
    lagging.status = vec![404];
    rules.replace(RuleSet::new([lagging])).unwrap();
    let script = Script::new([status(404), status(200)]);
    assert_eq!(script.run(&policy, get()).await.unwrap().status(), 200);
}

#[test]
fn each_wrong_value_of_a_rule_is_named_and_the_old_rules_stay() {
    let rules = rule(|it| it.status = vec![503]);
    let long = "x".repeat(257);
    let year = 366 * 86_400;
    type Change<'a> = Box<dyn Fn(&mut Rule) + 'a>;
    let wrong: [(&str, Change<'_>); 12] = [
        ("status", Box::new(|_| {})),
        ("status", Box::new(|it| it.status = vec![99])),
        ("status", Box::new(|it| it.status = vec![1_000])),
        ("code", Box::new(|it| it.code = vec![String::new()])),
        ("body", Box::new(|it| it.body = Some(long.clone()))),
        ("error", Box::new(|it| it.error = Some(String::new()))),
        ("header", Box::new(|it| it.header = Some("not a name".into()))),
        (
            "method",
            Box::new(|it| {
                it.status = vec![500];
                it.method = vec!["G T".into()]
            }),
        ),
        (
            "path",
            Box::new(|it| {
                it.status = vec![500];
                it.path = Some(String::new())
            }),
        ),
        (
            "class",
            Box::new(|it| {
                it.status = vec![500];
                it.class = "sever".into()
            }),
        ),
        (
            "after_seconds",
            Box::new(|it| {
                it.status = vec![500];
                it.after_seconds = Some(year + 1)
            }),
        ),
        (
            "error",
            Box::new(|it| {
                it.status = vec![500];
                it.error = Some("x".into())
            }),
        ),
    ];
    let ruined = |change: &Change<'_>| {
        let mut rule = Rule::new(Category::Recoverable, "server");
        change(&mut rule);
        rule
    };
    for (field, change) in &wrong {
        let error = rules.replace(RuleSet::new([ruined(change)])).unwrap_err();
        let fields: Vec<_> = error.problems().iter().map(|it| it.field().to_owned()).collect();
        assert_eq!(fields, [format!("error_categories[0].{field}")], "{error}");
    }
    let mut never = Rule::new(Category::NonRecoverable, "server");
    never.status = vec![500];
    never.after_seconds = Some(1);
    let error = rules.replace(RuleSet::new([never])).unwrap_err();
    assert_eq!(error.problems()[0].field(), "error_categories[0].after_seconds");
    let all = RuleSet::new(wrong.iter().map(|(_, change)| ruined(change)));
    assert_eq!(rules.replace(all).unwrap_err().problems().len(), wrong.len());
    assert!(fits(&rules, Ok(&answer(503, ""))), "the old rules stay");
}

#[test]
fn a_thousand_rules_are_the_most() {
    let many = |n| {
        let mut rule = Rule::new(Category::Recoverable, "server");
        rule.status = vec![500];
        RuleSet::new(std::iter::repeat_n(rule, n))
    };
    assert_eq!(Rules::new(many(1_000), &[]).unwrap().len(), 1_000);
    let error = Rules::new(many(1_001), &[]).unwrap_err();
    let problem = &error.problems()[0];
    assert_eq!((problem.field(), problem.value()), ("error_categories", "1001"));
}

/// The file may be another than the one that was meant.
#[test]
fn what_is_wrong_with_a_rule_is_told_without_much_of_what_stands_there() {
    let long = "x y".repeat(100_000);
    let mut rule = Rule::new(Category::Recoverable, long.clone());
    rule.status = vec![500];
    rule.method = vec![long.clone()];
    rule.header = Some("not a name: hunter2".into());
    let mut longer = rule.clone();
    longer.header = Some(long);
    let error = Rules::new(RuleSet::new([rule, longer]), &[]).unwrap_err();
    assert_eq!(error.problems().len(), 6);
    let told = error.to_string();
    assert!(told.contains("`error_categories[0].header` is not a name, allowed is"), "{told}");
    assert!(told.len() < 2_000 && !told.contains("hunter2"), "{told}");
}
