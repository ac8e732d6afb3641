"""`python -m rdv` and the `rdv` command."""
