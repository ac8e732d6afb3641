"""The package renders the report of `rdv drill`."""
