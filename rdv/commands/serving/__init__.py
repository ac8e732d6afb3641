"""`rdv serve` and `rdv model run` share the supervisor's output, loop and checks."""
