"""The console of a decision: `/metrics` for Prometheus, and a page for people.

A process of its own (`main`) follows the log at the lowest priority (`rdv.live`), keeps totals that
survive its end (`totals`) and the last hour in steps of five seconds (`recent`), and serves both
over HTTP (`app`). `Console` (`console`) is what pages and metrics are made of.
"""
