"""The rendezvous gives one answer per request by its SLA, from the reports so far.

    engine = Engine(host, schedules, live="production", models=["gbm", "logit"])
    results = engine.request(request, now_ns)     # each call returns the results that it decides
    results = engine.score(score, now_ns)
    results = engine.tick(now_ns)                 # call it at engine.next_deadline()

The engine is in `engine`, its specification in `reference`; `messages` are the records and
`schedule` the schedules that it works with. `backlog` decides which waiting requests a worker
evaluates, `topology` names the streams and topics. Pure: no clock, no files, no threads, no
randomness; the processes around it are thin loops. Import from the modules.
"""
