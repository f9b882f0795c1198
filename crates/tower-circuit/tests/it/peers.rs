//! The quorum view: several processes and one service, on a paused clock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, advance};
use tower_circuit::{Circuit, Peers, Reason, State, Verdict, View};

const SECOND: Duration = Duration::from_secs(1);

/// A board on which each process posts until when it sees the service down.
#[derive(Clone, Default)]
struct Board {
    posts: Arc<Mutex<HashMap<u32, Option<Instant>>>>,
}

struct Voter {
    board: Board,
    id: u32,
}

impl Peers for Voter {
    fn view(&self, circuit: &str) -> View {
        assert_eq!(circuit, "api");
        let posts = self.board.posts.lock().unwrap();
        let others = || posts.iter().filter(|(id, _)| **id != self.id);
        let is_down = |until: &Option<Instant>| until.is_some_and(|until| until > Instant::now());
        let down = others().filter(|(_, until)| is_down(until)).count();
        View { voters: others().count() as u32, down: down as u32 }
    }

    fn tell(&self, _circuit: &str, down: Option<Duration>) {
        self.board.posts.lock().unwrap().insert(self.id, down.map(|down| Instant::now() + down));
    }
}

fn processes(board: &Board, count: u32) -> Vec<Circuit> {
    let process = |id| {
        board.posts.lock().unwrap().insert(id, None);
        let peers = Voter { board: board.clone(), id };
        Circuit::builder("api")
            .consecutive(3)
            .open_for(10 * SECOND)
            .half_open(1, 1)
            .peers(peers, 0.5, 3)
            .build()
            .unwrap()
    };
    (0..count).map(process).collect()
}

fn record(circuit: &Circuit, verdict: Verdict, times: usize) {
    for _ in 0..times {
        circuit.admit().unwrap().record(verdict);
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_node_poisons_nobody() {
    let board = Board::default();
    let nodes = processes(&board, 5);
    record(&nodes[0], Verdict::Failure, 3);
    assert_eq!(nodes[0].state(), State::Open);
    for node in &nodes[1..] {
        record(node, Verdict::Failure, 1);
        assert_eq!(node.state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn with_half_of_the_peers_down_one_failure_is_enough_and_no_failure_never() {
    let board = Board::default();
    let nodes = processes(&board, 5);
    record(&nodes[0], Verdict::Failure, 3);
    record(&nodes[1], Verdict::Failure, 3);
    record(&nodes[2], Verdict::Success, 10);
    assert_eq!(nodes[2].state(), State::Closed, "it works here");
    record(&nodes[3], Verdict::Ignore, 1);
    assert_eq!(nodes[3].state(), State::Closed);
    record(&nodes[3], Verdict::Failure, 1);
    assert_eq!(nodes[3].status().last.reason, Reason::Quorum { down: 2, voters: 4 });
    // It was made to believe, so it tells nobody: with three of them down by their own
    // eyes the fourth would be only an echo.
    assert_eq!(board.posts.lock().unwrap()[&3], None);
}

#[tokio::test(start_paused = true)]
async fn votes_end_with_their_time_or_with_a_trial_that_succeeds() {
    let board = Board::default();
    let nodes = processes(&board, 4);
    record(&nodes[0], Verdict::Failure, 3);
    record(&nodes[1], Verdict::Failure, 3);
    advance(10 * SECOND).await;
    record(&nodes[2], Verdict::Failure, 1);
    assert_eq!(nodes[2].state(), State::Closed, "their votes are over");
    record(&nodes[0], Verdict::Failure, 1);
    record(&nodes[1], Verdict::Failure, 1);
    assert!(board.posts.lock().unwrap()[&0].is_some(), "a failed trial is a vote");
    advance(10 * SECOND).await;
    record(&nodes[0], Verdict::Success, 1);
    assert_eq!(board.posts.lock().unwrap()[&0], None);
}

#[tokio::test(start_paused = true)]
async fn too_few_voters_are_no_quorum() {
    let board = Board::default();
    let nodes = processes(&board, 3);
    record(&nodes[0], Verdict::Failure, 3);
    record(&nodes[1], Verdict::Failure, 3);
    record(&nodes[2], Verdict::Failure, 1);
    assert_eq!(nodes[2].state(), State::Closed, "two voters, three are asked for");
    let board = Board::default();
    let nodes = processes(&board, 4);
    record(&nodes[0], Verdict::Failure, 3);
    record(&nodes[1], Verdict::Failure, 3);
    record(&nodes[2], Verdict::Failure, 1);
    assert_eq!(nodes[2].status().last.reason, Reason::Quorum { down: 2, voters: 3 });
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_does_is_no_vote_and_holds_against_votes() {
    let board = Board::default();
    let nodes = processes(&board, 5);
    nodes[0].force_open(None);
    assert_eq!(board.posts.lock().unwrap()[&0], None);
    for node in &nodes[1..3] {
        record(node, Verdict::Failure, 3);
    }
    nodes[4].force_closed();
    record(&nodes[4], Verdict::Failure, 5);
    assert_eq!(nodes[4].state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn peers_that_panic_harm_nothing() {
    struct Broken;
    impl Peers for Broken {
        fn view(&self, _circuit: &str) -> View {
            panic!("on purpose")
        }
        fn tell(&self, _circuit: &str, _down: Option<Duration>) {
            panic!("on purpose")
        }
    }
    let circuit = Circuit::builder("api").consecutive(2).peers(Broken, 0.5, 1).build().unwrap();
    record(&circuit, Verdict::Failure, 2);
    assert_eq!(circuit.state(), State::Open);
    let problems = Circuit::builder("api").peers(Broken, 0.0, 0).build().unwrap_err();
    let fields: Vec<_> = problems.problems().iter().map(tower_circuit::Problem::field).collect();
    assert_eq!(fields, ["peers.share", "peers.min_voters"]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_goes_through_an_open_circuit_but_not_through_an_operator() {
    let circuit = Circuit::builder("api").consecutive(1).half_open(1, 1).build().unwrap();
    record(&circuit, Verdict::Failure, 1);
    let probe = circuit.probe().unwrap();
    assert!(probe.is_trial());
    assert!(circuit.probe().is_err(), "its place is taken");
    assert_eq!(circuit.status().last.reason, Reason::Probed);
    probe.record(Verdict::Failure);
    assert_eq!(circuit.status().last.reason, Reason::TrialFailed);
    circuit.force_open(Some(SECOND));
    assert!(circuit.probe().is_err());
    circuit.reset();
    assert!(!circuit.probe().unwrap().is_trial(), "closed, it is a call like any other");
}
