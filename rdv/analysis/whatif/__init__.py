"""Compute what another schedule would have answered, from recorded arrivals."""
