"""Find out which schedule to use: search over recorded arrivals, and report on a later part of
them.
"""
