"""Which schedule to use: searched over recorded arrivals, reported on a later part of them."""
