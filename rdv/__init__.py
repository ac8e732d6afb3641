"""rdv implements the Rendezvous Architecture for machine learning in production.

Importing this package is light on purpose; import what you need from its parts, for
example `from rdv.stream import open_stream`.
"""

__version__ = "0.2.0"
