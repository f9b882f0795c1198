//! `pipedrive sync-custom-fields`

use clap::Parser as _;

use super::{common, sync};
use crate::{
    cli::{Cli, Command, FieldsOf, SyncCustomFields},
    exit::{Code, Failure},
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
    // The options of a sync, whatever they are, as they are when nobody gives them.
    let Ok(Cli { command: Command::Sync(mut sync), .. }) =
        Cli::try_parse_from(["pipedrive", "sync"])
    else {
        return Err(Failure::new(Code::Other, "a sync without options cannot be made"));
    };
    let kinds = if args.entities.is_empty() { &ALL[..] } else { &args.entities };
    sync.entities = kinds.iter().map(|kind| table(*kind).to_owned()).collect();
    sync.full = args.full_data;
    sync.database = args.database;
    sync.connection = args.connection;
    sync.output = args.output;
    sync::run(*sync).await
}
