"""What each model is worth: its time, what it answers, and what the mix would lose without it.

study.worth(recorded, schedule, ...)   one pass over the record, and one over the scores
advice.advise                          keep, retire or sample; pure, only where intervals say so
without.without_model                  a schedule and its arrivals without one model
"""
