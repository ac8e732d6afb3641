"""Arguments and options that several commands share, each described once."""

from __future__ import annotations

from typing import Annotated

import typer

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
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Partition = Annotated[
    int | None,
    typer.Option("--partition", "-p", metavar="N", help="Only this partition.", show_default=False),
]
