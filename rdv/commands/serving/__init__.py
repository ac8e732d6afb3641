"""What `rdv serve` and `rdv model run` share: the supervisor's voice, loop and checks."""
