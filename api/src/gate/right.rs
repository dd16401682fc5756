//! By what right somebody asks, for what outlives its request (a WebSocket): it is asked again and again whether it still holds.
//!
//! It holds no longer once the credential has ended by its time, the user has another password, or user or token were removed. What may
//! be done by it is what the user may do now, not what he might when it began.

use super::Gate;
use crate::auth::Identity;
use jiff::Timestamp;
use std::sync::Arc;

/// The right of one request.
#[derive(Clone)]
pub(crate) struct Right {
    identity: Arc<Identity>,
    /// When the session or the signed URL ends that was brought.
    ends: Option<Timestamp>,
}

impl Right {
    pub(super) fn new(identity: &Arc<Identity>, ends: Option<Timestamp>) -> Right {
        Right { identity: Arc::clone(identity), ends }
    }

    /// The name of who has it, as the audit log tells it.
    pub(crate) fn name(&self) -> &str {
        &self.identity.name
    }
}

impl Gate {
    /// Who asks by this right, with what he may do now; nobody if it holds no longer.
    pub(crate) fn still(&self, right: &Right, now: Timestamp) -> Option<Identity> {
        if right.ends.is_some_and(|ends| now >= ends) {
            return None;
        }
        let Identity { name, generation, .. } = &*right.identity;
        match name.strip_prefix("token:") {
            Some(id) => self.accounts().with_token_id(id, now),
            // No user has this generation: it is this machine's own, as long as there is nobody else.
            None if *generation == 0 => self.is_open().then(Gate::local),
            None => self.accounts().with_generation(name, *generation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Right;
    use crate::auth::{Cameras, Grant, Identity, Role};
    use crate::gate::Gate;
    use jiff::{SignedDuration, Timestamp};
    use std::sync::Arc;

    fn all(role: Role) -> Grant {
        Grant { role, cameras: Cameras::All }
    }

    fn gate() -> (tempfile::TempDir, Gate) {
        let directory = tempfile::tempdir().expect("a directory");
        let gate = Gate::open(directory.path(), true).expect("a gate");
        (directory, gate)
    }

    fn right(identity: Option<Identity>, ends: Option<Timestamp>) -> Right {
        Right::new(&Arc::new(identity.expect("known")), ends)
    }

    #[test]
    fn the_right_of_a_user_ends_with_his_password_his_credential_and_himself() {
        let (_directory, gate) = gate();
        let now = Timestamp::now();
        gate.accounts().add_user("anna", "secret of anna", all(Role::Viewer)).expect("added");
        let known = |gate: &Gate| gate.accounts().with_generation("anna", 1);
        let held = right(known(&gate), None);
        let until = now + SignedDuration::from_secs(60);
        let brief = right(known(&gate), Some(until));
        assert!(gate.still(&held, now).is_some() && gate.still(&brief, now).is_some());
        assert!(gate.still(&brief, until).is_none(), "the session or the URL has ended");
        let none = Grant { role: Role::Viewer, cameras: Cameras::Only(Default::default()) };
        gate.accounts().set_grant("anna", none.clone()).expect("set");
        assert_eq!(gate.still(&held, now).map(|identity| identity.grant), Some(none), "as it is now");
        gate.accounts().set_password("anna", "another secret").expect("set");
        assert!(gate.still(&held, now).is_none());
        let again = right(gate.accounts().with_generation("anna", 2), None);
        assert!(gate.still(&again, now).is_some());
        gate.accounts().remove_user("anna").expect("removed");
        assert!(gate.still(&again, now).is_none());
    }

    #[test]
    fn the_right_of_a_token_ends_with_it_and_that_of_nobody_with_the_first_user() {
        let (_directory, gate) = gate();
        let now = Timestamp::now();
        let local = right(Some(Gate::local()), None);
        assert!(gate.still(&local, now).is_some());
        let until = now + SignedDuration::from_secs(60);
        let token = gate.accounts().add_token("x", all(Role::Viewer), Some(until), now).expect("added");
        assert!(gate.still(&local, now).is_none());
        let held = right(gate.by_token(&token.text, now), None);
        assert!(gate.still(&held, now).is_some() && gate.still(&held, until).is_none());
        gate.accounts().remove_token(&token.id).expect("removed");
        assert!(gate.still(&held, now).is_none());
    }
}
