"""Downloads the files of a version into the decision: `models/.mlflow/NAME/VERSION/`.

A version appears there whole, by one rename, with a list of its files and their hashes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from rdv.decision.registry import version_folder
from rdv.mlflow.client import ModelVersion, Registry
from rdv.mlflow.errors import ArtifactsUnusable
from rdv.models.model import one_line
from rdv.system.child import how_it_ended
from rdv.system.faults import faults
from rdv.system.made_of import Hashes
from rdv.system.run import run_program

MANIFEST = ".rdv-manifest.json"
MLMODEL = "MLmodel"
FILES_MAX = 1_000
"""The maximum number of files of a version: the supervisor looks at each of them."""
DEPTH_MAX = 20
_PIECE_BYTES = 1024 * 1024
_PARTIAL = ".partial-"
_ABANDONED_S = 86_400
"""A partial download that has not changed for so long is deleted: no process goes on with it."""
LIBRARY_TIMEOUT_S = 3600


class Manifest(msgspec.Struct, frozen=True):
    """Lists what was downloaded: the version's stamp, and sizes and hashes of its files."""

    stamp: str
    files: dict[str, tuple[int, str]]


@dataclass
class _Limits:
    """Counts files and bytes of one download."""

    about: str
    bytes_max: int
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    size: int = 0

    def add_bytes(self, count: int) -> None:
        self.size += count
        if self.size > self.bytes_max:
            reason = f"its files are larger than {self.bytes_max:,} bytes"
            raise ArtifactsUnusable(self.about, reason, "See download_bytes_max in [mlflow].")

    def add_file(self, name: str) -> None:
        if len(self.files) >= FILES_MAX:
            raise ArtifactsUnusable(self.about, f"it has more than {FILES_MAX:,} files")
        self.files[name] = 0, ""


def download(
    registry: Registry,
    directory: str,
    found: ModelVersion,
    bytes_max: int,
    environ: Mapping[str, str],
    hashes: Hashes | None = None,
) -> str:
    """Download a version unless it is there, whole; return its folder, relative to `directory`.

    `hashes` of an earlier call save reading files that have not changed since. Raises
    ArtifactsUnusable, what `Registry` raises, and SystemFaults.
    """
    about = f"models:/{found.name}/{found.version}"
    folder = version_folder(found.name, found.version)
    place = os.path.join(directory, folder)
    known = read_manifest(place)
    if known is not None and known.stamp == found.stamp and not damage(place, hashes):
        return folder
    if found.status not in ("READY", ""):
        raise ArtifactsUnusable(about, f"its state in the registry is {found.status}")
    source = registry.artifact_uri(found.name, found.version)
    with faults(place, "write to"):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        partial = tempfile.mkdtemp(prefix=_PARTIAL, dir=os.path.dirname(place))
    try:
        limits = _Limits(about, bytes_max)
        _fetch(registry, source, partial, limits, environ)
        if MLMODEL not in limits.files:
            raise ArtifactsUnusable(about, f"it is no MLflow model: it has no file {MLMODEL}")
        with faults(place, "write to"):
            with open(os.path.join(partial, MANIFEST), "wb") as file:
                file.write(msgspec.json.encode(Manifest(found.stamp, limits.files)))
                file.flush()
                os.fsync(file.fileno())
            os.chmod(partial, 0o755)  # noqa: S103 - as the folders beside it
            _put_in_place(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _put_in_place(partial: str, place: str) -> None:
    if os.path.lexists(place):  # damaged, or of a version that was made anew
        old = tempfile.mkdtemp(prefix=_PARTIAL, dir=os.path.dirname(place))
        os.rename(place, os.path.join(old, "old"))
        os.rename(partial, place)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(partial, place)


def read_manifest(place: str) -> Manifest | None:
    """Return the list of a downloaded version's files; None when there is none."""
    try:
        with open(os.path.join(place, MANIFEST), "rb") as file:
            return msgspec.json.decode(file.read(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def damage(place: str, hashes: Hashes | None = None) -> str:
    """Return which file of a downloaded version is not as it was downloaded; empty for none."""
    known, hashes = read_manifest(place), hashes or Hashes()
    if known is None:
        return MANIFEST
    for name, (size, digest) in known.files.items():
        path = os.path.join(place, name)
        try:
            if os.path.getsize(path) != size or hashes.of(path) != digest:
                return name
        except OSError:
            return name
    return ""


def prune(directory: str, name: str, used: Iterable[str], kept: int) -> list[str]:
    """Delete downloaded versions of a registered model, and what was left of broken downloads.

    Those in `used` stay, and of the others the `kept` newest. Return the deleted ones.
    """
    folder = os.path.dirname(os.path.join(directory, version_folder(name, "0")))
    try:
        found = os.listdir(folder)
    except OSError:
        return []
    versions = sorted((one for one in found if one.isdigit()), key=int, reverse=True)
    spare = [one for one in versions if one not in set(used)]
    broken = (one for one in found if one.startswith(_PARTIAL))
    gone = [*spare[kept:], *(one for one in broken if _is_abandoned(os.path.join(folder, one)))]
    for one in gone:
        shutil.rmtree(os.path.join(folder, one), ignore_errors=True)
    return gone


def _is_abandoned(place: str) -> bool:
    """Return whether a partial download is old: a newer one may be under way in `rdv model add`."""
    with contextlib.suppress(OSError):
        return time.time() - os.stat(place).st_mtime > _ABANDONED_S
    return False


def _fetch(
    registry: Registry, source: str, partial: str, limits: _Limits, environ: Mapping[str, str]
) -> None:
    parts = urlsplit(source)
    if parts.scheme == "mlflow-artifacts":
        with registry.artifacts_at(parts.netloc) as server:
            _from_proxy(server, parts.path.strip("/"), partial, limits)
    elif parts.scheme in ("", "file"):
        _from_folder(unquote(parts.path) if parts.scheme else source, partial, limits)
    else:
        _by_library(registry, parts.scheme, partial, limits, environ)


def _from_proxy(registry: Registry, root: str, partial: str, limits: _Limits) -> None:
    for name, size in _listed(registry, root, limits):
        with registry.file(f"{root}/{name}", limits.about) as pieces:
            _store(partial, name, pieces, limits)
        if isinstance(size, int) and limits.files[name][0] != size:
            reason = f"{name} has {limits.files[name][0]:,} bytes, and should have {size:,}"
            raise ArtifactsUnusable(limits.about, reason)


def _listed(registry: Registry, root: str, limits: _Limits) -> Iterator[tuple[str, Any]]:
    """Yield the files below `root` with their sizes."""
    waiting = [("", 0)]
    while waiting:
        folder, depth = waiting.pop()
        entries = registry.list_files(f"{root}/{folder}".rstrip("/"), limits.about)
        for entry in entries:
            name = os.path.join(folder, _checked(entry.get("path"), limits))
            if not entry.get("is_dir"):
                yield name, entry.get("file_size")
            elif depth >= DEPTH_MAX or len(waiting) >= FILES_MAX:
                raise ArtifactsUnusable(
                    limits.about, "its folders are nested too deep, or too many"
                )
            else:
                waiting.append((name, depth + 1))


def _checked(name: Any, limits: _Limits) -> str:
    """Return the last part of a path. Raises ArtifactsUnusable for one that leads elsewhere."""
    text = name if isinstance(name, str) else ""
    words = text.split("/")
    if not text or any(word in ("", ".", "..") for word in words) or "\0" in text or "\\" in text:
        raise ArtifactsUnusable(limits.about, f"it lists a file with an unusable name, {name!r}")
    if text == MANIFEST:
        raise ArtifactsUnusable(limits.about, f"it lists a file with a name of rdv, {name!r}")
    return text


def _from_folder(path: str, partial: str, limits: _Limits) -> None:
    if not os.path.isdir(path):
        reason = f"its files are in {one_line(path)[:300]}, which is not on this machine"
        advice = "Let the server pass files on: mlflow server --artifacts-destination FOLDER."
        raise ArtifactsUnusable(limits.about, reason, advice)

    def fail(error: OSError) -> None:
        raise error

    with faults(path, "read"):
        for folder, folders, names in os.walk(path, onerror=fail):
            folders.sort()
            for name in sorted(names):
                file = os.path.join(folder, name)
                if os.path.islink(file) or not os.path.isfile(file):
                    continue
                relative = os.path.relpath(file, path)
                with open(file, "rb") as source:
                    pieces = iter(lambda source=source: source.read(_PIECE_BYTES), b"")  # type: ignore[misc]
                    _store(partial, _checked(relative, limits), pieces, limits)


def _store(partial: str, name: str, pieces: Iterable[bytes], limits: _Limits) -> None:
    limits.add_file(name)
    path = os.path.join(partial, name)
    digest, size = hashlib.sha256(), 0
    with faults(path, "write"):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            for piece in pieces:
                limits.add_bytes(len(piece))
                digest.update(piece)
                size += len(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    limits.files[name] = size, digest.hexdigest()


def _by_library(
    registry: Registry, scheme: str, partial: str, limits: _Limits, environ: Mapping[str, str]
) -> None:
    """Download by MLflow itself, in a process of its own: it knows stores like s3."""
    advice = (
        f"Its files are in a store ({scheme}:) that only MLflow itself reads: pip install "
        "'rdv[mlflow]', or let the server pass files on (--artifacts-destination)."
    )
    with tempfile.TemporaryDirectory(dir=os.path.dirname(partial), prefix=_PARTIAL) as scratch:
        command = [sys.executable, "-m", "mlflow", "artifacts", "download"]
        command += ["--artifact-uri", limits.about, "--dst-path", scratch]
        try:
            done = run_program(
                command,
                timeout_s=LIBRARY_TIMEOUT_S,
                environment={**environ, "MLFLOW_TRACKING_URI": registry.given},
            )
        except OSError as error:
            reason = f"MLflow cannot be started: {error.strerror or error}"
            raise ArtifactsUnusable(limits.about, reason) from None
        if done.by_us:
            raise ArtifactsUnusable(limits.about, "MLflow takes too long to download it")
        if done.code:
            last = done.last_line(how_it_ended(done.code))
            said = last.replace(registry.given, registry.address)[:300]
            raise ArtifactsUnusable(limits.about, f"MLflow cannot download it: {said}", advice)
        folders = [one for one, _, names in os.walk(scratch) if MLMODEL in names]
        _from_folder(min(folders, key=len, default=scratch), partial, limits)
