"""`rdv load` is made of rows to send, figures of the answers, and reports."""
