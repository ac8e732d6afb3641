"""The evaluation learns from the log, which has what every model answered to every request, and
when.

    join.Join, join.read_joined   the join that everything uses: columns, one row for each request
    verify.verify                 are recorded decisions those that the engine makes?
    explain.explain               why one request got its answer
    whatif.what_if                what another schedule would have answered
    optimise.optimise             which schedule to use
    statistics, pictures          figures and charts, independent of the log

The package is a layer above the engine and below the components: it reads streams and writes none.
Import from the modules; they import numpy and pyarrow.
"""
