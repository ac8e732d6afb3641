"""What randomised requests say, where the decision taken decides whether the truth is ever seen.

draws.read_draws      the recorded cohorts, by which every draw can be made again
study.explored        label coverage by answer, and weighted estimates of a new schedule
caused                the estimates where the answer given causes the outcome
view.add_exploration  all of it, on a report
"""
