"""The parts of `rdv compare`."""
