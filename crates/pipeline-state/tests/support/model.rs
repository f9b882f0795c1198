//! A pipeline as simple as can be, beside a store that is to behave like it.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use jiff::Timestamp;
use pipeline_state::{Claim, Counts, ItemState, Resume};

use super::{Clock, Kit, PHASES, quiet};

struct Entry {
    state: ItemState,
    waits: bool,
    tried: bool,
    lost: u32,
    lease: i64,
    ends: Timestamp,
    epoch: u32,
}

type Model = BTreeMap<(usize, String), Entry>;

const MAX_LOST: u32 = 2;
const LEASE: Duration = Duration::from_secs(100);

fn counts(model: &Model, phase: usize) -> Counts {
    let mut counts = Counts::default();
    for ((_, _), entry) in model.iter().filter(|((at, _), _)| *at == phase) {
        *match entry.state {
            ItemState::Pending if entry.waits => &mut counts.waiting,
            ItemState::Pending => &mut counts.pending,
            ItemState::Processing => &mut counts.processing,
            ItemState::Completed => &mut counts.completed,
            ItemState::Failed => &mut counts.failed,
            ItemState::Skipped => &mut counts.skipped,
        } += 1;
    }
    counts
}

fn expire(model: &mut Model, now: Timestamp, epoch: u32) {
    for entry in model.values_mut() {
        if entry.state == ItemState::Processing && entry.ends <= now {
            entry.lost += 1;
            entry.state = ItemState::Pending;
            if entry.lost >= MAX_LOST {
                entry.state = ItemState::Failed;
                entry.epoch = epoch;
            }
        }
    }
}

fn again(entry: &mut Entry) {
    entry.state = ItemState::Pending;
    entry.waits = false;
    entry.lost = 0;
}

fn insert(model: &mut Model, phase: usize, name: &str, epoch: u32) {
    model.entry((phase, name.to_owned())).or_insert(Entry {
        state: ItemState::Pending,
        waits: false,
        tried: false,
        lost: 0,
        lease: 0,
        ends: Timestamp::MIN,
        epoch,
    });
}

pub async fn run(kit: &impl Kit, seed: u64, steps: usize) {
    let mut rng = Rng::with_seed(seed);
    let clock = Clock::new();
    let config = quiet().max_lost_leases(MAX_LOST).lease(LEASE);
    let tracker = kit.tracker(&clock, config);
    let pipeline = tracker.initialize("model", &PHASES).await.unwrap();
    let mut model = Model::new();
    let mut claims: Vec<(usize, Claim)> = Vec::new();
    let mut epoch = 0;
    for step in 0..steps {
        let phase = rng.usize(..PHASES.len());
        match rng.u8(..20) {
            0..=3 => {
                let names: Vec<_> =
                    (0..rng.usize(..20)).map(|_| rng.u8(..60).to_string()).collect();
                pipeline.add(PHASES[phase], &names).await.unwrap();
                names.iter().for_each(|name| insert(&mut model, phase, name, epoch));
            }
            4..=9 => {
                expire(&mut model, clock.now(), epoch);
                let limit = rng.usize(1..12);
                let claim = pipeline.claim(PHASES[phase], limit).await.unwrap();
                let pending = counts(&model, phase).pending;
                assert_eq!(claim.items.len() as u64, pending.min(limit as u64), "step {step}");
                for item in &claim.items {
                    let entry = model.get_mut(&(phase, item.name.clone())).unwrap();
                    assert!(entry.state == ItemState::Pending && !entry.waits, "step {step}");
                    entry.state = ItemState::Processing;
                    entry.tried = true;
                    entry.lease = item.lease.get();
                    entry.ends = clock.now() + LEASE;
                }
                claims.push((phase, claim));
            }
            10..=14 if !claims.is_empty() => {
                // Some of a claim; the rest may come later, or never, or twice.
                let (phase, claim) = &claims[rng.usize(..claims.len())];
                let (mut updates, mut applied) = (Vec::new(), 0);
                for item in &claim.items {
                    if rng.bool() {
                        continue;
                    }
                    let (update, state) = match rng.u8(..4) {
                        0 => (item.completed(), ItemState::Completed),
                        1 => (item.skipped(), ItemState::Skipped),
                        2 => (item.failed("net", "no"), ItemState::Failed),
                        _ => (item.released(), ItemState::Pending),
                    };
                    let next = (phase + 1) % PHASES.len();
                    let name = rng.u8(..90).to_string();
                    updates.push(update.produces(PHASES[next], [name.clone()]));
                    let entry = model.get_mut(&(*phase, item.name.clone())).unwrap();
                    if entry.state == ItemState::Processing && entry.lease == item.lease.get() {
                        entry.state = state;
                        if state != ItemState::Pending {
                            entry.epoch = epoch;
                        }
                        applied += 1;
                        insert(&mut model, next, &name, epoch);
                    }
                }
                let settled = pipeline.update(&updates).await.unwrap();
                assert_eq!(settled.applied, applied, "step {step}");
                assert_eq!(settled.stale.len() as u64 + applied, updates.len() as u64);
            }
            15 => clock.advance(LEASE.mul_f64(rng.f64())),
            16 => epoch = pipeline.checkpoint("step", None).await.unwrap(),
            17 => {
                pipeline.reset_failed(Some(PHASES[phase]), None).await.unwrap();
                let failed = model.iter_mut().filter(|((at, _), _)| *at == phase);
                failed.filter(|(_, e)| e.state == ItemState::Failed).for_each(|(_, e)| again(e));
            }
            18 => {
                let all = rng.bool();
                expire(&mut model, clock.now(), epoch);
                let from = if all { Resume::All } else { Resume::FailedOnly };
                let (_, resumed) = tracker.resume(pipeline.id(), &from).await.unwrap();
                assert!(resumed.recounted.is_empty(), "step {step}: {resumed:?}");
                for entry in model.values_mut() {
                    match entry.state {
                        ItemState::Failed => again(entry),
                        ItemState::Pending if all => entry.waits = false,
                        ItemState::Pending if !entry.tried => entry.waits = true,
                        _ => {}
                    }
                }
            }
            19 if epoch > 0 => {
                expire(&mut model, clock.now(), epoch);
                let kept = pipeline.checkpoints().await.unwrap();
                let seq = kept[rng.usize(..kept.len())].seq;
                tracker.resume(pipeline.id(), &Resume::Checkpoint(seq)).await.unwrap();
                for entry in model.values_mut() {
                    match entry.state {
                        ItemState::Processing => entry.state = ItemState::Pending,
                        ItemState::Pending => entry.waits = false,
                        _ if entry.epoch >= seq => again(entry),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        let progress = pipeline.progress().await.unwrap();
        for (at, phase) in progress.phases.iter().enumerate() {
            assert_eq!(phase.counts, counts(&model, at), "seed {seed} step {step} phase {at}");
        }
    }
    assert!(model.len() > 50, "it has worked on something");
}
