//! `pipedrive sync-custom-fields`

use super::{common, sync::How};
use crate::{
    cli::{FieldsOf, SyncCustomFields},
    engine::{SyncOptions, plan::Wanted},
    exit::Failure,
    store::Store,
};

const ALL: [FieldsOf; 5] = [
    FieldsOf::Deal,
    FieldsOf::Person,
    FieldsOf::Organization,
    FieldsOf::Product,
    FieldsOf::Activity,
];

const fn table(kind: FieldsOf) -> &'static str {
    match kind {
        FieldsOf::Deal => "deal_fields",
        FieldsOf::Person => "person_fields",
        FieldsOf::Organization => "organization_fields",
        FieldsOf::Product => "product_fields",
        FieldsOf::Activity => "activity_fields",
    }
}

/// A sync of the definitions and nothing else; the views follow by themselves.
pub(super) async fn run(args: SyncCustomFields) -> Result<(), Failure> {
    if args.force {
        // Only what is there already: what a refused sync must not make, this must not make either.
        let database = common::database(&args.database)?;
        if database.path().is_none_or(|path| path.exists()) {
            let mut store = Store::open(&database).await?;
            store.forget_views().await?;
            store.close().await?;
        }
    }
    let kinds = if args.entities.is_empty() { &ALL[..] } else { &args.entities };
    let options = SyncOptions {
        entities: kinds.iter().map(|kind| table(*kind).to_owned()).collect(),
        mode: if args.full_data { Wanted::Full } else { Wanted::Auto },
        ..SyncOptions::default()
    };
    let how = How {
        database: &args.database,
        connection: &args.connection,
        output: args.output,
        events: None,
        command: "sync-custom-fields",
    };
    how.run(options).await
}
