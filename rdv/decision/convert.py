"""Convert plain TOML values to a Decision; every error names its key. Pure.

Keys that newer versions have removed get a warning, not a refusal: a commit that removes a key from
a section adds it to `RETIRED`, so that an rdv.toml of the version before still works.
"""

from __future__ import annotations

import copy
import difflib
import math
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import msgspec

from rdv.decision.decision import SECTIONS, Cohort, Cohorts, Decision
from rdv.decision.errors import InvalidDecision, InvalidModelName
from rdv.decision.model import ModelConfig
from rdv.decision.objective import Objective
from rdv.decision.registry import InvalidRegistryUri, is_registry_uri, parse_uri, second_name
from rdv.decision.remote import servers
from rdv.decision.schema import Column, Schema
from rdv.decision.schema_tree import tree_of_columns
from rdv.decision.sections import PORT_MAX, Http
from rdv.decision.value import Value
from rdv.stream import check_name
from rdv.stream.errors import InvalidName
from rdv.system.cgroup import CPUS_MIN

_SINGLE = frozenset(Decision.__struct_fields__) - {"directory", "warnings", "registered"}
_PLACE = re.compile(r"^(?P<reason>.*) - at `\$(?P<path>.*)`$", re.DOTALL)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SHARES_MAX = 1 + 1e-9
NAME_LENGTH_MAX = 128
"""The maximum number of characters of a name, as in the messages."""


class Retired(NamedTuple):
    """Describes a key that was removed: since which version, and what to do about it."""

    since: str
    advice: str


RETIRED: dict[str, Retired] = {}
"""By dotted key, as in "http.example"; "models.*.example" is a key of every model."""


def find_retired(key: str) -> Retired | None:
    """Return the retirement of a dotted key; None when it is not retired."""
    for pattern, retired in RETIRED.items():
        if fnmatchcase(key, pattern) and key.count(".") == pattern.count("."):
            return retired
    return None


def without_retired(table: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of an rdv.toml without retired keys, and a warning for each of them."""
    kept, warnings = copy.deepcopy(table), list[str]()
    _take_out(kept, "", warnings)
    return kept, warnings


def _take_out(table: dict[str, Any], place: str, warnings: list[str]) -> None:
    for name in list(table):
        key = f"{place}.{name}" if place else name
        if (retired := find_retired(key)) is not None:
            del table[name]
            warnings.append(retired_warning(key, retired))
        elif isinstance(table[name], dict):
            _take_out(table[name], key, warnings)


def retired_warning(key: str, retired: Retired) -> str:
    """Return the warning."""
    return f"{key} has no effect since rdv {retired.since}: {retired.advice}"


def make_decision(table: dict[str, Any], where: str, directory: str = "") -> Decision:
    """Make a Decision from the values of an `rdv.toml`; `where` names it in errors.

    Raises InvalidDecision for an unknown key (with a suggestion), a wrong type, a value out of its
    range, and for settings that contradict each other. A retired key is a warning in the decision's
    `warnings`.
    """
    table, warnings = without_retired(table)
    _known_keys(table, sorted(_SINGLE), "", where)
    values = dict(table)
    for section, kind in SECTIONS.items():
        values[section] = _struct(kind, _without_columns(section, values), section, where)
    values["schema"] = _schema(values["schema"], table.get("schema", {}), where)
    values["models"] = _named(ModelConfig, values.get("models", {}), "models", where)
    values["cohorts"] = _cohorts(values.get("cohorts", {}), where)
    try:
        decision = msgspec.convert(
            values | {"directory": directory, "warnings": warnings}, Decision
        )
    except msgspec.ValidationError as error:
        raise _refused(error, "", where) from None
    check_decision(decision, where)
    return decision


def _without_columns(section: str, values: dict[str, Any]) -> Any:
    """Return the values of a section, but not [schema.columns], which `_schema` converts."""
    table = values.get(section, {})
    if section != "schema" or not isinstance(table, dict):
        return table
    return {key: value for key, value in table.items() if key != "columns"}


def _schema(schema: Schema, table: dict[str, Any], where: str) -> Schema:
    """Add the columns, so that an error names its column."""
    columns = table.get("columns", {})
    _is_table(columns, "schema.columns", where)
    made: dict[str, Column] = {}
    for name, column in columns.items():
        key = f"schema.columns.{name}"
        if isinstance(column, dict) and any(isinstance(v, dict) for v in column.values()):
            unknown = [n for n in column if n not in Column.__struct_fields__]
            if unknown:
                reason = f'write a column of an object as "{name}.{unknown[0]}", in quotes'
                raise InvalidDecision(where, f"{key}.{unknown[0]}", reason)
        made[name] = _struct(Column, column, key, where)
    return msgspec.structs.replace(schema, columns=made)


def _cohorts(value: Any, where: str) -> Cohorts:
    """Convert [cohorts], which has its salt and, beside it, one table for each cohort."""
    _is_table(value, "cohorts", where)
    rest = {key: item for key, item in value.items() if key != "salt"}
    groups = _named(Cohort, rest, "cohorts", where)
    salt = value.get("salt", "")
    if not isinstance(salt, str):
        raise InvalidDecision(where, "cohorts.salt", f"expected `str`, got {salt!r}")
    return Cohorts(salt=salt, groups=groups)


def _named(kind: type[Any], value: Any, section: str, where: str) -> dict[str, Any]:
    _is_table(value, section, where)
    made = {}
    for name, table in value.items():
        key = f"{section}.{name}"
        if not isinstance(table, dict):
            _is_table(table, key, where)
        _check_name(name, key, where)
        made[name] = _struct(kind, table, key, where)
    return made


def _struct(kind: type[Any], value: Any, key: str, where: str) -> Any:
    _is_table(value, key, where)
    _known_keys(value, kind.__struct_fields__, key, where)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _refused(error, key, where) from None


def _is_table(value: Any, key: str, where: str) -> None:
    if not isinstance(value, dict):
        raise InvalidDecision(where, key, f"is {value!r}, but [{key}] is a table")


def _known_keys(table: dict[str, Any], known: Any, section: str, where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            dotted = f"{section}.{key}" if section else key
            reason = f"no such setting; there are {', '.join(known)}"
            raise InvalidDecision(where, dotted, reason, near[0] if near else "")


def _refused(error: msgspec.ValidationError, section: str, where: str) -> InvalidDecision:
    """Convert a message such as "Expected … - at `$.port`": the place becomes the key."""
    match = _PLACE.match(str(error))
    reason, path = (match["reason"], match["path"]) if match else (str(error), "")
    key = f"{section}{path}".lstrip(".") or "rdv.toml"
    if missing := re.search(r"required field `(\w+)`", reason):
        key, reason = f"{key}.{missing[1]}", "is missing"
    return InvalidDecision(where, key, reason[:1].lower() + reason[1:])


def check_decision(decision: Decision, where: str) -> None:
    """Check what the types of single settings cannot express. Raises InvalidDecision."""
    _check_name(decision.schedule, "schedule", where)
    if decision.name:
        _check_name(decision.name, "name", where)
    http = decision.http
    if "[" in http.host or "]" in http.host:
        reason = f"{http.host!r}: write an IPv6 address without brackets, as ::1"
        raise InvalidDecision(where, "http.host", reason)
    _check_access(http, where)
    _check_ports(http, where)
    if http.enrich and not re.fullmatch(r"[^:]+\.py:[A-Za-z_]\w*", http.enrich):
        reason = f"{http.enrich!r} is not FILE.py:FUNCTION, as models/profile.py:enrich"
        raise InvalidDecision(where, "http.enrich", reason)
    _check_value(decision.value, where)
    _check_objective(decision.objective, where)
    _check_schema(decision.schema, where)
    _check_features(decision, where)
    _check_variables(decision.env, "env", where)
    for name, model in decision.models.items():
        _check_variables(model.env, f"models.{name}.env", where)
        _check_variables(model.remote.variables, f"models.{name}.remote", where)
        _check_model(name, model, where)
        _check_registered(name, model, decision, where)
    for name, cohort in decision.cohorts.groups.items():
        _check_name(cohort.schedule, f"cohorts.{name}.schedule", where)
        for wanted in cohort.models:
            if wanted not in decision.models:
                reason = f"there is no model {wanted!r}; there are {', '.join(decision.models)}"
                raise InvalidDecision(where, f"cohorts.{name}.models", reason)
    shares = sum(cohort.share for cohort in decision.cohorts.groups.values())
    if shares > _SHARES_MAX:
        raise InvalidDecision(where, "cohorts", f"the shares add up to {shares:g}, more than 1")


def _check_objective(objective: Objective, where: str) -> None:
    least = objective.quality_min
    if isinstance(least, float) and not math.isfinite(least):
        raise InvalidDecision(where, "objective.quality_min", "is not a finite number")


def _check_schema(schema: Schema, where: str) -> None:
    given = [name for name in ("columns", "json_schema", "pydantic") if getattr(schema, name)]
    if len(given) > 1:
        reason = f"has {' and '.join(given)}; one of them is enough"
        raise InvalidDecision(where, "schema", reason)
    if schema.unknown == "reject" and not given:
        raise InvalidDecision(where, "schema.unknown", "there are no columns: nothing would pass")
    if schema.pydantic and not re.fullmatch(r"[^:\0]+\.py:[A-Za-z_]\w*", schema.pydantic):
        reason = f"{schema.pydantic!r} is not FILE.py:CLASS, as models/row.py:Row"
        raise InvalidDecision(where, "schema.pydantic", reason)
    if "\0" in schema.json_schema:
        raise InvalidDecision(where, "schema.json_schema", "contains a NUL byte")
    tree_of_columns(schema, where)


def _check_features(decision: Decision, where: str) -> None:
    redis, http = decision.enrich_redis, decision.enrich_http
    if redis.url and redis.url_from:
        reason = "has url and url_from; one of them is enough"
        raise InvalidDecision(where, "enrich_redis", reason)
    if redis.url and not redis.url.startswith(("redis://", "rediss://", "unix://")):
        shown = redis.url.rpartition("@")[2]
        reason = f"{shown!r} does not begin with redis://, rediss:// or unix://"
        raise InvalidDecision(where, "enrich_redis.url", reason)
    if http.url and not re.match(r"https?://[^/{}]+/.*\{key\}", http.url):
        reason = f"{http.url!r} is not http://HOST/PATH with {{key}} in its path"
        raise InvalidDecision(where, "enrich_http.url", reason)
    for name, one in (("enrich_redis", redis), ("enrich_http", http)):
        if not one.into:
            raise InvalidDecision(where, f"{name}.into", "is empty")
    if redis.is_declared and http.is_declared and redis.into == http.into:
        raise InvalidDecision(where, "enrich_http.into", "is the same as enrich_redis.into")
    _check_variables([redis.url_from] if redis.url_from else [], "enrich_redis.url_from", where)
    names = [http.authorization_from] if http.authorization_from else []
    _check_variables(names, "enrich_http.authorization_from", where)


def _check_value(value: Value, where: str) -> None:
    if value.function and not re.fullmatch(r"[^:\0]+\.py:[A-Za-z_]\w*", value.function):
        reason = f"{value.function!r} is not FILE.py:FUNCTION, as value.py:value"
        raise InvalidDecision(where, "value.function", reason)
    for action, row in value.cost.items():
        if not all(map(math.isfinite, row.values())):
            raise InvalidDecision(where, f"value.cost.{action}", "has a value that is not finite")


def _check_ports(http: Http, where: str) -> None:
    """Raise InvalidDecision for ports that do not exist, or that two processes need."""
    if http.port + http.proxies - 1 > PORT_MAX:
        reason = f"{http.proxies} proxies from {http.port} on need ports above {PORT_MAX}"
        raise InvalidDecision(where, "http.port", reason)
    if http.grpc_port and http.port <= http.grpc_port < http.port + http.proxies:
        reason = f"{http.grpc_port} is the port of a proxy as well (http.port, http.proxies)"
        raise InvalidDecision(where, "http.grpc_port", reason)


def _check_access(http: Http, where: str) -> None:
    if not (http.hosts or http.origins or http.trusted_proxies):
        return
    from rdv.http.access import canonical_host, canonical_origin, trusted_network

    checks: dict[str, Callable[[str], object]] = {
        "hosts": canonical_host,
        "origins": canonical_origin,
        "trusted_proxies": trusted_network,
    }
    for key, check in checks.items():
        for text in getattr(http, key):
            try:
                check(text)
            except ValueError as error:
                raise InvalidDecision(where, f"http.{key}", str(error)) from None


def _check_variables(names: list[str], key: str, where: str) -> None:
    for name in names:
        if not _VARIABLE.fullmatch(name):
            shown = name.partition("=")[0]
            reason = f"{shown!r} is not the name of a variable; values belong into the environment"
            raise InvalidDecision(where, key, reason)


def _check_model(name: str, model: ModelConfig, where: str) -> None:
    key = f"models.{name}"
    kinds = [kind for kind in ("path", "command", "http") if getattr(model, kind)]
    if model.builtin == "decoy":
        kinds.append('builtin = "decoy"')
    if not kinds:
        noun = "a canary" if model.builtin == "canary" else "a model"
        reason = f'{noun} needs one of path, command, http, builtin = "decoy"'
        raise InvalidDecision(where, key, reason)
    if len(kinds) > 1:
        raise InvalidDecision(where, key, f"has {' and '.join(kinds)}; one of them is enough")
    _check_servers(model, f"{key}.http", where)
    least, most = model.range
    if least > most:
        reason = f"{least} is more than instances_max, {most}"
        raise InvalidDecision(where, f"{key}.instances_min", reason)
    if least == 0 and model.builtin:
        reason = f"0: a {model.builtin} has to see every request, so that it cannot sleep"
        raise InvalidDecision(where, f"{key}.instances_min", reason)
    _check_surroundings(model, key, where)
    if model.command and not all(model.command):
        raise InvalidDecision(where, f"{key}.command", "has an empty word")
    for kind, text in (("path", model.path), *(("command", word) for word in model.command)):
        if "\0" in text:
            raise InvalidDecision(where, f"{key}.{kind}", "contains a NUL byte")


def _check_registered(name: str, model: ModelConfig, decision: Decision, where: str) -> None:
    if not is_registry_uri(model.path):
        return
    try:
        uri = parse_uri(model.path)
    except InvalidRegistryUri as error:
        raise InvalidDecision(where, f"models.{name}.path", error.text()) from None
    second = second_name(name)
    if uri.alias and second in decision.models:
        reason = f"that is the name of the second version of {name}, which follows {model.path}"
        raise InvalidDecision(where, f"models.{second}", reason)
    if uri.alias and (reason := _why_no_name(second)):
        raise InvalidDecision(where, f"models.{name}", f"{second!r} cannot be a name: {reason}")


MEMORY_MIN = 1024 * 1024
"""The smallest memory_max."""


def _check_surroundings(model: ModelConfig, key: str, where: str) -> None:
    if (model.python or model.requirements) and not model.path:
        which = "python" if model.python else "requirements"
        what = "a command" if model.command else "a server" if model.http else "a decoy"
        raise InvalidDecision(where, f"{key}.{which}", f"is for a model file, not for {what}")
    for name in ("python", "requirements"):
        if "\0" in getattr(model, name):
            raise InvalidDecision(where, f"{key}.{name}", "contains a NUL byte")
    try:
        is_usable = not model.memory_max or model.memory_max_bytes >= MEMORY_MIN
    except ValueError as error:
        raise InvalidDecision(where, f"{key}.memory_max", str(error)) from None
    if not is_usable:
        reason = f"{model.memory_max!r} is less than a model can do with, {MEMORY_MIN} bytes"
        raise InvalidDecision(where, f"{key}.memory_max", reason)
    if 0 < model.cpu_max < CPUS_MIN:
        reason = f"{model.cpu_max:g} is less than a model can do with, {CPUS_MIN:g}; 0: no limit"
        raise InvalidDecision(where, f"{key}.cpu_max", reason)


def _check_servers(model: ModelConfig, key: str, where: str) -> None:
    for url in servers(model.http):
        if not re.match(r"https?://[^/?#]", url):
            shown = url.partition("@")[2] or url
            raise InvalidDecision(where, key, f"{shown!r} is not the address of a server, http://…")
        if "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]:
            reason = "a password does not belong into an address: use remote.token_env"
            raise InvalidDecision(where, key, reason)


def check_model_name(name: str) -> str:
    """Return `name` if it is a valid name of a model. Raises InvalidModelName."""
    if reason := _why_no_name(name):
        raise InvalidModelName(name, reason)
    return name


def _check_name(name: str, key: str, where: str) -> None:
    if reason := _why_no_name(name):
        raise InvalidDecision(where, key, f"{name[:80]!r} cannot be a name: {reason}")


def _why_no_name(name: str) -> str:
    """Return why a name is invalid; the rules of topics apply, as it becomes a topic."""
    if len(name) > NAME_LENGTH_MAX:
        return f"it is longer than {NAME_LENGTH_MAX} characters"
    try:
        check_name(name, "topic")
    except InvalidName as error:
        return error.reason
    return ""
