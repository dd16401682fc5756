//! What somebody may do: a role, and of which cameras.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// What somebody may do with the cameras that are his.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees footage, live and recorded, and exports it.
    Viewer,
    /// Changes things too.
    Admin,
}

/// Of which cameras. There is no value that stands for all by leaving something out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cameras {
    /// All there are and will be.
    All,
    /// These, by name.
    Only(BTreeSet<String>),
}

/// A role and its cameras.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What may be done.
    pub role: Role,
    /// With which cameras.
    pub cameras: Cameras,
}

impl Grant {
    /// Whether footage of a camera may be seen and exported, and that there is such a camera be known.
    pub fn may_see(&self, camera: &str) -> bool {
        match &self.cameras {
            Cameras::All => true,
            Cameras::Only(names) => names.contains(camera),
        }
    }

    /// Whether there may be cameras of which footage may be seen.
    pub fn sees_any(&self) -> bool {
        match &self.cameras {
            Cameras::All => true,
            Cameras::Only(names) => !names.is_empty(),
        }
    }

    /// Whether a camera, its recording and its holds may be changed.
    pub fn may_change(&self, camera: &str) -> bool {
        self.role == Role::Admin && self.may_see(camera)
    }

    /// Whether what concerns all cameras may be changed: adding cameras, users, tokens.
    pub fn may_administer(&self) -> bool {
        self.role == Role::Admin && self.cameras == Cameras::All
    }
}

#[cfg(test)]
mod tests {
    use super::{Cameras, Grant, Role};

    fn grant(role: Role, cameras: &[&str]) -> Grant {
        Grant { role, cameras: Cameras::Only(cameras.iter().map(|name| (*name).to_owned()).collect()) }
    }

    #[test]
    fn what_each_grant_allows() {
        let all = |role| Grant { role, cameras: Cameras::All };
        let table = [
            (all(Role::Admin), [true, true, true, true, true, true]),
            (all(Role::Viewer), [true, true, true, false, false, false]),
            (grant(Role::Admin, &["door"]), [true, true, false, true, false, false]),
            (grant(Role::Viewer, &["door"]), [true, true, false, false, false, false]),
            (grant(Role::Admin, &[]), [false; 6]),
        ];
        for (grant, expected) in table {
            let told = [
                grant.sees_any(),
                grant.may_see("door"),
                grant.may_see("yard"),
                grant.may_change("door"),
                grant.may_change("yard"),
                grant.may_administer(),
            ];
            assert_eq!(told, expected, "{grant:?}");
        }
    }

    #[test]
    fn a_grant_that_leaves_its_cameras_out_is_none() {
        assert!(serde_json::from_str::<Grant>(r#"{"role":"admin"}"#).is_err());
        let text = serde_json::to_string(&grant(Role::Viewer, &["door"])).expect("JSON");
        assert_eq!(text, r#"{"role":"viewer","cameras":{"only":["door"]}}"#);
        assert_eq!(serde_json::from_str::<Grant>(&text).expect("a grant"), grant(Role::Viewer, &["door"]));
    }
}
