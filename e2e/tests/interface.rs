//! The services held to their own interface descriptions. Needs the Python that `./scripts/test` brings.

e2e::scenarios! { all_in_one;
    interface {
        clients_made_from_the_descriptions_use_every_operation,
        requests_made_up_from_the_descriptions_find_no_fault,
    }
}

mod with_servers {
    e2e::scenarios! { postgres;
        interface {
            clients_made_from_the_descriptions_use_every_operation,
        }
    }
}
