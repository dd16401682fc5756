//! How many passwords may be tried, by how many at once.

use super::{BY_ADDRESS, Gate, WAITING_MAX};
use crate::auth::{Cameras, Grant, Role, Wait};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

fn gate() -> (tempfile::TempDir, Arc<Gate>) {
    let directory = tempfile::tempdir().expect("a directory");
    let gate = Gate::open(directory.path(), false).expect("a gate");
    let grant = Grant { role: Role::Viewer, cameras: Cameras::All };
    gate.accounts().add_user("anna", "secret of anna", grant).expect("added");
    (directory, Arc::new(gate))
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

type Told = Result<bool, Wait>;

/// Guesses, all begun before the first is verified.
async fn at_once(gate: &Arc<Gate>, guesses: Vec<(IpAddr, String, String)>) -> Vec<Told> {
    let all = guesses.into_iter().map(|(address, name, password)| {
        let gate = Arc::clone(gate);
        async move { gate.by_password(address, &name, &password).await.map(|who| who.is_some()) }
    });
    futures_util::future::join_all(all).await
}

#[tokio::test]
async fn passwords_that_are_tried_all_at_once_count_as_one_after_the_other() {
    let (_directory, gate) = gate();
    let wrong = |which| (address(1), "anna".to_owned(), format!("wrong {which}"));
    let told = at_once(&gate, (0..200).map(wrong).collect()).await;
    let (burst, leak) = BY_ADDRESS;
    assert_eq!(told.iter().filter(|told| **told == Ok(false)).count(), burst as usize);
    let waits: Vec<Duration> = told.iter().filter_map(|told| Some(told.err()?.0)).collect();
    let longest = waits.iter().max().copied();
    assert!(waits.len() == 200 - burst as usize && longest <= Some(leak), "{longest:?} of {}", waits.len());
}

#[tokio::test]
async fn the_right_password_may_be_sent_by_any_number_of_requests_at_once() {
    let (_directory, gate) = gate();
    let right = |_| (address(1), "anna".to_owned(), "secret of anna".to_owned());
    let told = at_once(&gate, (0..100).map(right).collect()).await;
    assert!(told.iter().all(|told| *told == Ok(true)), "{told:?}");
    // And is no wrong one afterwards.
    let wrong = |which| (address(1), "anna".to_owned(), format!("wrong {which}"));
    let told = at_once(&gate, (0..BY_ADDRESS.0).map(wrong).collect()).await;
    assert!(told.iter().all(|told| *told == Ok(false)), "{told:?}");
}

#[tokio::test]
async fn only_so_many_wait_for_their_password_to_be_verified() {
    let (_directory, gate) = gate();
    let all = u32::try_from(super::VERIFIED_AT_ONCE).expect("few");
    let busy = gate.verifying.acquire_many(all).await.expect("never closed");
    let waiting: Vec<_> = (0..super::VERIFIED_AT_ONCE + WAITING_MAX)
        .map(|which| {
            let (gate, address) = (Arc::clone(&gate), address(which as u8));
            tokio::spawn(
                async move { gate.by_password(address, &format!("user {which}"), "x").await.is_ok() },
            )
        })
        .collect();
    while gate.room.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let crowded = gate.by_password(address(200), "anna", "secret of anna").await;
    assert!(crowded.is_err_and(|wait| wait.0 > Duration::ZERO));
    waiting.iter().for_each(|waiting| waiting.abort());
    while gate.room.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    drop(busy);
    let told = gate.by_password(address(200), "anna", "secret of anna").await;
    assert!(told.is_ok_and(|who| who.is_some()), "there is room again");
}
