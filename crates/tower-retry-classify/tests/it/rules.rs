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
fn a_set_that_is_wrong_leaves_the_old_rules() {
    let rules = rule(|it| it.status = vec![503]);
    let mut wrong = Rule::new(Category::Recoverable, "server");
    wrong.status = vec![500, 99];
    assert!(rules.replace(RuleSet::new([wrong])).is_err());
    assert!(fits(&rules, Ok(&answer(503, ""))));
}

#[test]
fn a_thousand_rules_are_built() {
    let mut rule = Rule::new(Category::Recoverable, "server");
    rule.status = vec![500];
    let many = RuleSet::new(std::iter::repeat_n(rule, 1_000));
    assert_eq!(Rules::new(many, &[]).unwrap().len(), 1_000);
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
