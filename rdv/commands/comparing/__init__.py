"""The parts of `rdv compare` are in this package."""
