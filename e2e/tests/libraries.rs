//! What receivers' own libraries make of our webhooks. Needs the Python that `./scripts/test` brings.

e2e::scenarios! { sqlite;
    libraries {
        a_receivers_own_libraries_verify_what_it_gets,
    }
}

mod with_servers {
    e2e::scenarios! { postgres;
        libraries {
            a_receivers_own_libraries_verify_what_it_gets,
        }
    }
}
