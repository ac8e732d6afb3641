"""`rdv tail` selects records, and renders them."""
