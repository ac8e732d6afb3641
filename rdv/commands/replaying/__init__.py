"""`rdv replay` needs a worker's rules and a report, besides the library."""
