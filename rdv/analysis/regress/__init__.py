"""Hold an edited schedule, or a new model file, against recorded traffic: tests for schedules.

study.regress(recorded, schedule, ...)   decides recorded requests anew, and judges the limits
limits.Limits, limits.judge              what may change at most; pure
replayed.ReplayedModel                   a model file's answers, put into the record by replay
report                                   Markdown for a pull request, JUnit XML for a CI server
"""
