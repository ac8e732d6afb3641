"""The parts of `rdv promote`."""
