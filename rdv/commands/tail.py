"""Implement `rdv tail`."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.options import Partition, PathOrTopic
from rdv.commands.terminal import is_terminal

EXAMPLES = (
    "rdv tail fraud/results",
    "rdv tail -f fraud/input:requests",
    "rdv tail fraud/scores --since 10m --format json | jq .value.model",
    "rdv tail fraud/input:requests --partition 0 --offset 1200 -n 1 --format raw",
)


def tail(
    address: PathOrTopic,
    *,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Go on with new records, and with new topics of a bare PATH."
        ),
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--lines",
            metavar="N",
            help="How many: the last N, or with --offset the first N. Default: 10; with --since "
            "or --offset all.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From then on: 10m (ago) or an ISO time."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="What was appended before: as --since.")
    ] = None,
    offset: Annotated[
        int | None,
        typer.Option(metavar="OFFSET", help="From this offset on, in every partition."),
    ] = None,
    partition: Partition = None,
    format_: Annotated[
        Literal["table", "json", "raw"] | None,
        typer.Option(
            "--format",
            envvar="RDV_FORMAT",
            help="table; json: an object a line, which embeds a value that is JSON; raw: the "
            "values as they are. Default: table on a terminal, else json.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Show the newest records of a stream, and follow.

    Records of several partitions are shown in the order of their append times. A time without a
    zone is UTC. With -f it ends on Ctrl-C; records that retention deletes before they were read are
    reported on stderr; damaged ones end it.
    """
    from rdv.commands.opening import open_files, read_target
    from rdv.commands.tailing.render import make_renderer
    from rdv.commands.tailing.select import Window, follow_on, read_window, window_of

    if count is not None and count < 0:
        raise InvalidOption("-n", "is 0 or more")
    if follow and until is not None:
        raise InvalidOption("--until", "does not go with --follow")
    if since is not None and offset is not None:
        raise InvalidOption("--offset", "does not go with --since")
    target = read_target(address)
    window = Window(count, since, until, offset)
    chosen = "json" if as_json else format_ or ("table" if is_terminal(sys.stdout) else "json")
    with open_files(target, look=True) as stream:
        ranges = window_of(stream, target, partition, window)
        renderer = make_renderer(chosen, [place.topic for place in ranges])
        renderer.show(read_window(stream, ranges, window))
        if follow:
            follow_on(stream, target, partition, ranges, renderer)
