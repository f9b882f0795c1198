//! What people see: how far it is, what the quotas were used for, how the services did.

use examples::BoxError;
use pipeline_state::Pipeline;

use super::pipeline::Cylvy;

pub(crate) async fn progress(pipeline: &Pipeline, phase: &str) -> Result<(), BoxError> {
    let counts = pipeline.progress().await?.phase(phase).ok_or("such a phase")?;
    println!(
        "  {phase:<10} {:>4.0} %  {:>3} completed {:>3} skipped {:>3} failed of {:>3}",
        counts.fraction() * 100.0,
        counts.completed,
        counts.skipped,
        counts.failed,
        counts.total()
    );
    Ok(())
}

/// Planned, used and left by service and endpoint; what was tried again, and when a circuit opened.
pub(crate) async fn quotas(cylvy: &Cylvy) -> Result<(), BoxError> {
    println!(
        "\n{:<12} {:<10} {:>8} {:>8} {:>6} {:>8}",
        "service", "endpoint", "planned", "used", "calls", "left"
    );
    for ((service, endpoint), used) in cylvy.books.used().await? {
        let left = cylvy.clients.get(service.as_str()).map_or(0, |client| client.left());
        println!(
            "{service:<12} {endpoint:<10} {:>8} {:>8} {:>6} {left:>8}",
            used.planned, used.used, used.calls
        );
        assert!(used.used <= used.planned, "nobody used what was not planned");
    }
    for client in cylvy.clients.values() {
        let (tried, circuit) = (client.retries.snapshot(), client.circuit.status());
        let given_up: u64 = tried.gave_up.iter().map(|(_, count)| count).sum();
        println!(
            "{:<12} in this run {} retries, {} calls recovered, {given_up} given up; circuit {}, {} turned away",
            client.name,
            tried.retries,
            tried.recovered(),
            circuit.state,
            circuit.refused,
        );
    }
    Ok(())
}

pub(crate) async fn failures(cylvy: &Cylvy) -> Result<(), BoxError> {
    for item in cylvy.pipeline.failed(None, None, 3).await? {
        println!("  failed: {} in {}: {}", item.name, item.phase, item.failure.message);
    }
    for (category, count) in cylvy.pipeline.failures().await? {
        println!("  {count} failed: {category}");
    }
    Ok(())
}
