"""The rendezvous in the caller's own process: `rdv.local`.

`decider` drives the engine with models that are evaluated one after another, `caller` evaluates
one model (in this thread, or in a process of its own), `local` is what the user holds.
"""
