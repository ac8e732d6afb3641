"""The views of the page, one module each: a function from what is asked for to a report."""
