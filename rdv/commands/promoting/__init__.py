"""The parts of `rdv promote` are in this package."""
