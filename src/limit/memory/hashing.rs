//! By what budgets are found: hashes of servers and callers, which nobody can foresee.

use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};
use std::sync::{Arc, OnceLock};

/// Stands between a server and a caller, and in no text.
const BETWEEN: u8 = 0xff;

#[derive(Debug, Default)]
pub(super) struct Hashing {
    random: RandomState,
    /// What is known of the server that was asked about first: mostly there is no other.
    first: OnceLock<Server>,
}

/// The part of a hash that is the same for all callers.
#[derive(Debug)]
struct Server {
    name: Arc<str>,
    /// Of all callers together.
    of_all: u64,
    before_caller: DefaultHasher,
}

impl Hashing {
    /// The hash of a server, and of a caller if it is not for all of them together.
    pub(super) fn of(&self, (server, caller): (&str, Option<&str>)) -> u64 {
        match caller {
            None => self.of_all(server),
            Some(caller) => of_caller(self.before_caller(server), caller),
        }
    }

    /// The same. The first server is remembered.
    pub(super) fn of_shared(&self, server: &Arc<str>, caller: Option<&str>) -> u64 {
        let first = self.first.get_or_init(|| Server {
            name: Arc::clone(server),
            of_all: self.of_all(server),
            before_caller: self.before_caller(server),
        });
        if !Arc::ptr_eq(&first.name, server) && first.name != *server {
            return self.of((server, caller));
        }
        match caller {
            None => first.of_all,
            Some(caller) => of_caller(first.before_caller.clone(), caller),
        }
    }

    fn of_all(&self, server: &str) -> u64 {
        let mut hasher = self.random.build_hasher();
        hasher.write(server.as_bytes());
        hasher.finish()
    }

    fn before_caller(&self, server: &str) -> DefaultHasher {
        let mut hasher = self.random.build_hasher();
        hasher.write(server.as_bytes());
        hasher.write(&[BETWEEN]);
        hasher
    }
}

fn of_caller(mut hasher: DefaultHasher, caller: &str) -> u64 {
    hasher.write(caller.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_remembered_of_a_server_changes_no_hash(
            servers in prop::collection::vec("[ab]{0,2}", 1..5),
            caller in prop::option::of("[ab]{0,12}"),
        ) {
            let hashing = Hashing::default();
            let caller = caller.as_deref();
            for server in &servers {
                // Not always the same one, of the same name.
                let shared: Arc<str> = server.as_str().into();
                prop_assert_eq!(hashing.of_shared(&shared, caller), hashing.of((server, caller)));
            }
        }

        #[test]
        fn what_is_told_apart_has_hashes_of_its_own(
            one in ("[ab]{0,2}", prop::option::of("[ab]{0,2}")),
            other in ("[ab]{0,2}", prop::option::of("[ab]{0,2}")),
        ) {
            let hashing = Hashing::default();
            let hash = |(server, caller): &(String, Option<String>)| hashing.of((server, caller.as_deref()));
            prop_assert_eq!(one == other, hash(&one) == hash(&other));
        }
    }
}
