//! Nothing: the tests in `tests/deploy` run what is in `deploy/` and `dashboards/`, with the programs that cargo has built.
