"""`rdv outcome` reads outcomes from the command line and from files."""
