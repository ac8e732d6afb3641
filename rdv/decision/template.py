"""Read the templates of `rdv init`: `sample-models/NAME/template.toml`, and the example schedules.

In a checkout `sample-models` and `schedules` lie at the top of the repository, where people look
for them; a wheel has them as `rdv/assets/…`.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

import rdv
from rdv.decision.errors import AssetsMissing, TemplateNeeds, UnknownTemplate
from rdv.decision.model import ModelConfig
from rdv.decision.outcome import INFERRED, Outcome
from rdv.decision.sections import Http
from rdv.system.faults import faults

LIVE_EXAMPLE = "exclusive-then-broaden"
"""The example schedule that becomes production.toml."""

_TIME = re.compile(r"^(sla_ms|until_ms) = (\d+)", re.MULTILINE)
_DEFAULT = re.compile(r"^default = .*$", re.MULTILINE)


def asset_directory(name: Literal["sample-models", "schedules"]) -> str:
    """Return the directory of files that come with rdv. Raises AssetsMissing."""
    package = os.path.dirname(os.path.abspath(rdv.__file__))
    installed = os.path.join(package, "assets", name)
    if os.path.isdir(installed):
        return installed
    checkout = os.path.join(os.path.dirname(package), name)
    if os.path.isdir(checkout):
        return checkout
    raise AssetsMissing(installed)


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Describes a kind of decision to start from."""

    about: str
    champion: str = ""
    challenger: str = ""
    fast: str = ""
    default: str = ""
    """The default result, as TOML in a schedule."""

    models: dict[str, ModelConfig]
    parts: dict[str, str] = {}
    """The roles of models beyond the three above: `{"canary": "canary"}`."""

    http: Http = Http()
    """HTTP settings that the template needs: an enricher, for example."""

    outcome: Outcome = INFERRED
    """What its outcomes say, and which part of an answer is judged by them."""

    wildcard: tuple[str, ...] = ()
    """The models that `accept = ["*"]` of the examples means; empty: all, with a canary."""

    examples: bool = True
    """Whether the new decision gets the example schedules, with its models' names. Its own ones
    (`sample-models/NAME/schedules`) are copied as they are, and replace an example of the same
    name.
    """

    time_scale: Annotated[int, msgspec.Meta(ge=1)] = 1
    """The factor for the times of the example schedules."""

    needs: str = ""
    """A library that the models import, beyond numpy."""

    extra: str = ""
    """The extra of rdv that installs it."""

    ask: str = ""
    """A request that fits on a command line, as JSON."""

    def role(self, model: str) -> str:
        """Return the role of a model."""
        parts = {self.champion: "champion", self.challenger: "challenger", self.fast: "fallback"}
        return self.parts.get(model) or parts.get(model, "")


def template_names() -> tuple[str, ...]:
    """Return the names of all templates, sorted. Raises AssetsMissing."""
    place = asset_directory("sample-models")
    with faults(place, "list"):
        names = os.listdir(place)
    return tuple(
        sorted(n for n in names if os.path.isfile(os.path.join(place, n, "template.toml")))
    )


def load_template(name: str) -> tuple[Template, str]:
    """Return a template and its directory. Raises UnknownTemplate, TemplateNeeds, AssetsMissing."""
    known = template_names()
    if name not in known:
        raise UnknownTemplate(name, tuple(sorted((*known, "blank"))))
    directory = os.path.join(asset_directory("sample-models"), name)
    path = os.path.join(directory, "template.toml")
    try:
        with faults(path, "read"), open(path, "rb") as file:
            template = msgspec.toml.decode(file.read(), type=Template)
    except msgspec.DecodeError as error:
        raise AssetsMissing(f"{path} ({error})") from error
    if template.needs and importlib.util.find_spec(template.needs) is None:
        raise TemplateNeeds(name, template.needs, template.extra)
    return template, directory


def template_schedules(template: Template, source: str) -> dict[str, str]:
    """Return the schedules of a new decision, texts by name, for the template in `source`."""
    found = dict(example_schedules(template)) if template.examples else {}
    own = os.path.join(source, "schedules")
    if os.path.isdir(own):
        found.update(_schedule_files(own))
    return found


def example_schedules(template: Template) -> Iterator[tuple[str, str]]:
    """Yield the example schedules as (name, text), with the template's values."""
    for name, text in _schedule_files(asset_directory("schedules")):
        yield ("production" if name == LIVE_EXAMPLE else name), fill_in(text, template)


def _schedule_files(place: str) -> Iterator[tuple[str, str]]:
    with faults(place, "read"):
        for file_name in sorted(os.listdir(place)):
            name, ending = os.path.splitext(file_name)
            if ending == ".toml":
                with open(os.path.join(place, file_name), encoding="utf-8") as file:
                    text = file.read()
                yield name, text


def fill_in(text: str, template: Template) -> str:
    """Return an example schedule with the names, times and default of a template."""
    names = {"champion": template.champion, "challenger": template.challenger}
    for part, model in (names | {"fast": template.fast}).items():
        text = text.replace(f'"{part}"', f'"{model}"')
    if template.wildcard:
        names_text = ", ".join(f'"{model}"' for model in template.wildcard)
        text = text.replace('accept = ["*"]', f"accept = [{names_text}]")
    text = _TIME.sub(lambda match: f"{match[1]} = {int(match[2]) * template.time_scale}", text)
    return _DEFAULT.sub(lambda _: f"default = {template.default}", text)
