"""Arguments and options that several commands share, each described once.

The functions read what an option names (times, files, schedules), before any work is done.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rdv.commands.errors import NotJson
from rdv.commands.terminal import as_text
from rdv.commands.units import assumed_utc, bound_of
from rdv.errors import NotUsable

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.rendezvous.schedule import Schedule

Decision = Annotated[str, typer.Argument(metavar="DIR", help="Directory of the decision.")]
PathOnly = Annotated[str, typer.Argument(metavar="PATH", help="Directory of the stream.")]
PathOrTopic = Annotated[
    str,
    typer.Argument(metavar="PATH[:TOPIC]", help="The stream; with a topic, only that one."),
]
PathAndTopic = Annotated[
    str, typer.Argument(metavar="PATH:TOPIC", help="The stream and the topic in it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Partition = Annotated[
    int | None,
    typer.Option("--partition", "-p", metavar="N", help="Only this partition.", show_default=False),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Only requests from this time on: 10m (ago), yesterday, 11:37, 2026-05-01.",
    ),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only requests before this time.")]
On = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="The field of the answers to use. Default: action, label, bin, class or score.",
    ),
]
METRICS = (
    "accuracy, balanced-accuracy, brier, calibration, f1, hit-rate@5, list-precision@5, log-loss, "
    "mae, mrr, ndcg@10, pinball@0.9, pr-auc, precision@k=100, recall@fpr=0.01, rmse, roc-auc, value"
)
"""The names of the metrics, with examples of their settings: those of rdv.analysis.metrics."""
Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help=f"What answers are measured by: {METRICS} (your own, see [value]). Default: metric of "
        "[outcome] in rdv.toml, or by the type of the outcomes.",
        show_default=False,
    ),
]
WarmUp = Annotated[
    str | None,
    typer.Option(
        "--warm-up",
        metavar="DURATION",
        help="First feed the model the requests of this time before --since, or all; their answers "
        "do not count. For models that keep state.",
    ),
]


def warm_up_ns(text: str | None, *, is_bounded: bool) -> int | None:
    """Return a warm-up in ns; 0 without one, None for all. Raises InvalidOption, InvalidQuantity.

    `is_bounded`: the replay has a --since, before which there are requests to feed.
    """
    from rdv.commands.errors import InvalidOption
    from rdv.commands.units import parse_duration_ns

    if text is None:
        return 0
    if not is_bounded:
        reason = "needs --since: without it, all recorded requests are replayed"
        raise InvalidOption("--warm-up", reason)
    return None if text.strip().lower() == "all" else parse_duration_ns(text)


Canary = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The model that never changes. Default: the canary of rdv.toml."
    ),
]
ModelFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="A .py file, or a library's model file or folder.", show_default=False
    ),
]
Servers = Annotated[
    list[str] | None,
    typer.Option(
        "--http",
        metavar="URL",
        help="The URL of a server that is the model; repeat the option for each replica.",
        show_default=False,
    ),
]
Protocol = Annotated[
    Literal["json", "oip", "mlflow", "tfserving"] | None,
    typer.Option(
        help="With --http: the protocol of the server. Default: json.", show_default=False
    ),
]
Instances = Annotated[
    int, typer.Option(metavar="N", help="Number of processes that share the model's requests.")
]
RequestSchedule = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|JSON|@FILE", help="The schedule to decide by, instead of the live one."
    ),
]
Group = Annotated[
    str | None, typer.Option("--group", "-g", metavar="NAME", help="Only this group.")
]
OneJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]
ScheduleFile = Annotated[
    str,
    typer.Option("--schedule", metavar="FILE", help="A schedule file, or the name of one in DIR."),
]


def span_ns(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Return the bounds in ns since 1970; note on stderr what is read as UTC."""
    now_ns = time.time_ns()
    return _bound("--since", since, now_ns), _bound("--until", until, now_ns)


def _bound(option: str, text: str | None, now_ns: int) -> int | None:
    if text is None:
        return None
    time_ns, is_assumed_utc = bound_of(text, now_ns)
    if is_assumed_utc:
        sys.stderr.write(assumed_utc(option, text, time_ns) + "\n")
    return time_ns


def need_file(option: str, path: str) -> None:
    """Check that there is a file (or pipe) at `path`. Raises NotUsable, NotPermitted."""
    mode = _mode(path)
    if mode is None:
        raise NotUsable(option, f"there is no file {path}")
    if stat.S_ISDIR(mode):
        raise NotUsable(option, f"{path} is a directory, not a file")


def need_no_file(param: typer.CallbackParam, value: str) -> str:
    """Check a directory that is to be made, as a typer callback. Raises NotUsable."""
    check_no_file(value if param.param_type_name == "argument" else param.opts[-1], value)
    return value


def check_no_file(what: str, directory: str) -> None:
    """Check that neither the directory nor one above it is a file. Raises NotUsable."""
    place = os.path.abspath(directory)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if os.path.exists(place) and not os.path.isdir(place):
        raise NotUsable(what, f"{place} is a file, not a directory")


def need_folder(param: typer.CallbackParam, value: str | None) -> str | None:
    """Check options that name a file to be written, as a typer callback.

    Raises NotUsable, NotPermitted.
    """
    if value is not None:
        folder = os.path.dirname(value) or "."
        if not stat.S_ISDIR(_mode(folder) or 0):
            raise NotUsable(param.opts[-1], f"there is no directory {folder}", f"mkdir -p {folder}")
        if stat.S_ISDIR(_mode(value) or 0):
            raise NotUsable(param.opts[-1], f"{value} is a directory, not a file")
    return value


def output_file(help_: str) -> Any:
    """Return the option `-o FILE`, for a file to be written."""
    return typer.Option("-o", "--output", metavar="FILE", help=help_, callback=need_folder)


def _mode(path: str) -> int | None:
    """Return the mode of what is at `path`; None if nothing is. Raises NotPermitted."""
    from rdv.system.faults import faults

    with faults(path, "read"):
        try:
            return os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None


def given_schedule(decision: DecisionConfig, text: str) -> Schedule:
    """Return the schedule in a file, or the decision's of that name.

    Raises InvalidSchedule, NotUsable, ScheduleNotFound, SystemFaults.
    """
    from rdv.decision.schedules import schedule_of

    if text.endswith(".toml") or os.path.dirname(text):
        need_file("--schedule", text)
    return schedule_of(decision, text)


def schedule_of_request(text: str) -> str | dict[str, Any]:
    """Read a schedule's name, an object as JSON, or @FILE with one (TOML or JSON).

    Raises NotUsable, NotJson, InvalidSchedule, SystemFaults.
    """
    if not text.startswith("@"):
        is_object = text.lstrip().startswith("{")
        return (
            _object(os.fsencode(text), "--schedule") if is_object else as_text(text, "--schedule")
        )
    from rdv.decision.schedules import read_schedule_text
    from rdv.rendezvous.schedule import schedule_from_toml
    from rdv.rendezvous.schedule.model import content as plain

    path = text[1:]
    need_file("--schedule", path)
    content = read_schedule_text(path)
    if path.endswith(".json"):
        return _object(content, path)
    return plain(schedule_from_toml(content, "inline", path))


def _object(text: bytes | str, what: str) -> dict[str, Any]:
    found = parsed_json(text, what)
    if not isinstance(found, dict):
        raise NotJson(what, "is not JSON: an object is needed")
    return found


def parsed_json(text: bytes | str, what: str) -> Any:
    """Return JSON from the command line. Raises NotJson, which names it as `what`."""
    from rdv.payload import UnusableJson, read_json

    try:
        return read_json(text)
    except UnusableJson as error:
        raise NotJson(what, error.verdict(), error.hint(), error.kind) from None
