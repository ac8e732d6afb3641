"""Each module here lets rdv load one kind of model file: the entry points of group `rdv.models`.

A package of your own can add a kind by an entry point of that group, whose value is a module that
offers:

    ENDINGS = (".txt",)                how the names of such files end; "/" stands for a folder
    EXTRA = "lightgbm"                 the extra of its package that installs the library
    LIBRARIES = ("lightgbm",)          what it imports: names the missing extra
    OPTIONS = {"threads": "..."}       optional: what [models.NAME.options] may contain, described
    recognises(path) -> bool           whether the file is of this kind; reads a few KB at most
    load(path, options) -> object      the loaded model; raises what the library raises

and the loaded model

    version: str                       its own version; "" when the file has none
    columns: list[dict] | None         [{"name": ..., "type": ..., "required": ..., "categories":
                                       [...]}] of its input, as far as the file tells
    files: list[str]                   optional: more files that a C++ library reads by itself
    notes: list[str]                   optional: what `rdv model add` says about it
    predict(rows: list) -> list        one result for each row: plain values or numpy's
    numbers: tuple | None              optional, where all columns are numbers: (their names or
                                       None, how many there are, whether a field that is not there
                                       is a missing value)
    predict_numbers(x) -> list         with `numbers`: what `predict` returns for the same rows, of
                                       an array of float64 [rows, columns]; null is NaN
    close()                            optional

`rows` are the parsed `data` of requests. Where they are plain numbers, rdv reads them into an array
in C and calls `predict_numbers`, which costs a tenth of parsing them; all others go to `predict`.
One exception of `predict` fails the whole batch, and rdv then calls it for each row alone.
`options` are those of [models.NAME.options] in rdv.toml, and its keys `threads` and `trusted`.

Such a module is also run by its path with another interpreter, in which rdv is not installed
(`python = ".venv-gbm/bin/python"`). So it imports only the standard library at its top, its own
library inside of functions, and nothing of rdv. Its name may be that of its library: never put this
folder on `sys.path`.
"""
