"""Find out which schedule to use: search recorded arrivals, and report on a later part."""
