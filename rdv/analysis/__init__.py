"""Learn from the log, which has what every model answered to every request, and when.

    dataset.join.Join             the join that every study uses: columns, one row for each request
    verify.study.verify           are recorded decisions those that the engine makes?
    explain.study.explain         why one request got its answer
    whatif.study.what_if          what another schedule would have answered
    regress.study.regress         is an edited schedule as good on the recorded requests?
    worth.study.worth             what each model costs, and what would be lost without it
    optimise.study.optimise       which schedule to use
    statistics, charts            figures and charts, independent of the log

Each study is a folder: study.py computes, result.py has the frozen values, view.py shows them. The
package reads streams and writes none. Import from the modules; they import numpy and pyarrow.
"""
