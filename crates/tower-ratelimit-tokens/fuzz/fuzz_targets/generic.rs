#![no_main]

use http::HeaderName;
use tower_ratelimit_tokens::{BudgetId, GenericDialect, ResetForm};
use tower_ratelimit_tokens_fuzz::target;

fn reset_as(budget: BudgetId, form: ResetForm) -> GenericDialect {
    GenericDialect::x_ratelimit(budget).reset(HeaderName::from_static("x-ratelimit-reset"), form)
}

target!(
    |[a, b, c]| GenericDialect::x_ratelimit(a),
    GenericDialect::x_rate_limit(a).and(b).remaining(HeaderName::from_static("x-left")).exhausts(),
    reset_as(a, ResetForm::Seconds),
    reset_as(a, ResetForm::Millis),
    reset_as(a, ResetForm::EpochSeconds),
    reset_as(a, ResetForm::EpochMillis),
    reset_as(a, ResetForm::HttpDate),
    reset_as(a, ResetForm::Iso8601),
    reset_as(a, ResetForm::Units),
);
