//! A circuit for each database of a program, without tower: three time-outs in a row
//! open one of them, and the other goes on.
//!
//! Runs offline: the databases are functions that answer, or hang.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use tower_circuit::{BoxError, CallError, Circuit, Circuits, State};

/// A query that never comes back from the replica.
async fn query(database: &str) -> Result<Vec<u32>, BoxError> {
    let answer = async {
        if database == "replica" {
            std::future::pending::<()>().await;
        }
        vec![1, 2, 3]
    };
    // The time-out lies inside the circuit, so it is an error like any other.
    Ok(tokio::time::timeout(Duration::from_millis(10), answer).await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let databases: Circuits<String> = Circuit::builder("database")
        .consecutive(3)
        .open_for(Duration::from_secs(30))
        .on_transition(|circuit, change| {
            println!("{}: {} -> {}: {}", circuit.name(), change.from, change.to, change.reason);
        })
        .keyed()
        .build()?;

    for _ in 0..3 {
        let answer = databases.get("replica").call(query("replica")).await;
        assert!(matches!(answer, Err(CallError::Failed(_))));
    }
    // Refused at once; the program takes the primary instead.
    let rows = match databases.get("replica").call(query("replica")).await {
        Err(CallError::Open(open)) => {
            println!("{open}");
            databases
                .get("primary")
                .call(query("primary"))
                .await
                .map_err(|error| error.to_string())?
        }
        other => panic!("the circuit let it through: {other:?}"),
    };
    assert_eq!(rows, [1, 2, 3]);
    assert_eq!(databases.get("replica").state(), State::Open);
    for status in databases.status() {
        println!("{}: {}, {} refused", status.name, status.state, status.refused);
    }
    Ok(())
}
