//! Metrics and samples, on a paused clock.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::sleep;
use tower::service_fn;
use tower_health::{
    BoxError, FailureDetector, Health, METRICS, OpenMetrics, Prober, Sample, SampleBuffer,
    SampleSink, State, Verdict,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn every_metric_is_written_once_with_its_kind_and_all_its_samples() {
    let health = Health::builder("a \"quoted\"\\\nname").build().unwrap();
    let other = Health::builder("other").build().unwrap();
    health.record(Verdict::Good, SECOND / 4);
    health.record(Verdict::Bad, SECOND / 4);
    let service = service_fn(|()| async { Ok::<_, BoxError>(()) });
    let prober = Prober::builder("probe", service, || ()).build().unwrap();
    prober.check().await;
    let detector = FailureDetector::builder("workers").build().unwrap();
    detector.register("one", ()).unwrap();
    let metrics = OpenMetrics::new().health(&health).health(&other).probe(&prober);
    let text = metrics.detector(&detector).to_string();
    for metric in METRICS {
        let kind = format!("# TYPE {} {}\n", metric.name, metric.kind);
        assert_eq!(text.matches(&kind).count(), 1, "{kind}");
        assert!(metric.unit.is_empty() || metric.name.ends_with(metric.unit), "{metric:?}");
    }
    for expected in [
        "tower_health_error_ratio{health=\"a \\\"quoted\\\"\\\\\\nname\"} 0.5\n",
        "tower_health_bad_calls{health=\"other\"} 0\n",
        "tower_health_latency_average_seconds{health=\"a \\\"quoted\\\"\\\\\\nname\"} 0.25\n",
        "tower_health_changes_total{health=\"other\"} 0\n",
        "tower_health_state{health=\"other\",tower_health_state=\"unknown\"} 1\n",
        "tower_health_state{health=\"other\",tower_health_state=\"healthy\"} 0\n",
        "tower_health_probe_checks_total{probe=\"probe\"} 1\n",
        "tower_health_probe_success_ratio{probe=\"probe\"} 1\n",
        "tower_health_targets{detector=\"workers\",state=\"unknown\"} 1\n",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    assert!(!text.contains("quantile=\"0.5\"} 0\n"), "no calls have no latency");
    // The samples of a metric follow each other.
    let names = text.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<_> = names.map(|line| line.split('{').next().unwrap()).collect();
    let runs = names.windows(2).filter(|pair| pair[0] != pair[1]).count() + 1;
    assert_eq!(runs, names.iter().collect::<HashSet<_>>().len());
}

#[test]
fn the_readme_shows_the_table() {
    for metric in METRICS {
        let tower_health::Metric { name, kind, labels, help, .. } = metric;
        let row = format!("| `{name}` | {kind} | `{labels}` | {help} |\n");
        assert!(include_str!("../../README.md").contains(&row), "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn samples_come_each_interval_and_find_that_a_service_fell_idle() {
    let health = Health::builder("api").build().unwrap();
    let seen: Arc<Mutex<Vec<Sample>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let keep = move |sample| sink.lock().unwrap().push(sample);
    let (handle, sampling) = health.sample_every(10 * SECOND, keep).unwrap();
    tokio::spawn(sampling);
    health.record(Verdict::Good, SECOND);
    health.record(Verdict::Bad, 3 * SECOND);
    let mut watch = health.watch();
    watch.borrow_and_update();
    sleep(65 * SECOND).await;
    drop(handle);
    sleep(60 * SECOND).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 6);
    let first = &seen[0];
    assert_eq!((first.calls, first.bad, first.average), (2, 1, 2 * SECOND));
    assert!(first.p99.unwrap() >= 2_970 * SECOND / 1_000);
    assert_eq!((seen[5].state, seen[5].calls), (State::Unknown, 0));
    assert!(watch.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_lets_go_of_the_oldest_and_says_so() {
    let health = Health::builder("api").build().unwrap();
    let buffer = SampleBuffer::new(3).unwrap();
    for n in 1..=5 {
        health.record(Verdict::Good, SECOND);
        assert_eq!(buffer.len(), 3.min(n - 1));
        buffer.accept(Sample::of(&health.report()));
    }
    assert_eq!(buffer.dropped(), 2);
    let calls = |samples: Vec<Sample>| samples.iter().map(|s| s.calls).collect::<Vec<_>>();
    assert_eq!(calls(buffer.take(2)), [3, 4]);
    assert_eq!(calls(buffer.take(9)), [5]);
    assert!(buffer.is_empty());
}
