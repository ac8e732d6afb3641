"""Learning from the log: it holds what every model said of every request, and when.

    join.Join, join.read_joined   the one join that feeds everything: columns, one row a request
    verify.verify                 are recorded decisions those that the engine takes?
    explain.explain               why one request got its answer
    whatif.what_if                what another schedule would have answered
    optimise.optimise             which schedule to use
    statistics, pictures          figures and plots that know nothing of the log

A floor above the engine and below the components: it reads streams, and writes none. Import from
the modules; numpy and pyarrow come with them.
"""
