//! `pipedrive config`

use serde_json::json;

use super::common;
use crate::{cli, exit::Failure};

pub(super) fn run(args: &cli::Config) -> Result<(), Failure> {
    let config = common::load(&common::sources(&args.connection))?;
    let mut settings = config.effective();
    if args.changed {
        settings.retain(|setting| setting.source.to_string() != "default");
    }
    let value: Vec<_> = settings
        .iter()
        .map(|setting| {
            json!({"key": setting.key, "value": setting.value, "source": setting.source.to_string(), "doc": setting.doc})
        })
        .collect();
    let mut text = format!("profile {}, {}\n", config.profile, config.base_url);
    for setting in &settings {
        text.push_str(&format!("  {} = {}  ({})\n", setting.key, setting.value, setting.source));
    }
    for variable in config.unknown_variables() {
        text.push_str(&format!("note: {variable}\n"));
    }
    common::print(args.json, &value, &text);
    Ok(())
}
