"""A decision's directory, opened for reading: `rdv.open`.

`opened` is what the user holds, `table` a table that is read when it is used, `tables` makes the
tables of a decision, `measured` those that need outcomes. The commands call these, too.
"""
