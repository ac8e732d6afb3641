"""A/B tests: effects between cohorts, valid at any time, and by pairs of the same requests."""
