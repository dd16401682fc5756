//! Who this process is, for the log of sessions that every volume keeps.

use keha_fs::{Opener, Uuid};
use nix::unistd::{Uid, User, gethostname};

/// The program and its version.
const SOFTWARE: &str = concat!("keha ", env!("CARGO_PKG_VERSION"));
/// Makes identities of machines Keha's own: that of the machine itself is meant to stay on it (machine-id(5)).
const APPLICATION: Uuid = Uuid::from_u128(0x6b65_6861_7365_7373_696f_6e73_0000_0001);

/// This process, which opens a volume for `purpose`.
pub(crate) fn opener(purpose: &str) -> Opener {
    Opener {
        purpose: purpose.to_owned(),
        software: SOFTWARE.to_owned(),
        host: gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        machine: machine(std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim()),
        user: user(),
    }
}

/// The identity of a machine of this id; zero if it has none.
fn machine(id: &str) -> Uuid {
    match Uuid::try_parse(id) {
        Ok(_) => Uuid::new_v5(&APPLICATION, id.as_bytes()),
        Err(_) => Uuid::nil(),
    }
}

/// The user whose process this is, by name where it has one.
fn user() -> String {
    let uid = Uid::current();
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_own_id_cannot_be_read_from_its_identity() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(machine(id), machine(id));
        assert!(!machine(id).simple().to_string().contains(&id[..8]));
        assert_eq!(machine("uninitialized"), Uuid::nil());
    }

    #[test]
    fn the_opener_says_what_for_and_who() {
        let opener = opener("record");
        assert_eq!((opener.purpose.as_str(), opener.software.as_str()), ("record", SOFTWARE));
        assert!(opener.user.contains("uid"), "{}", opener.user);
    }
}
