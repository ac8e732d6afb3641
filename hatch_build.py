"""Builds the hot path in C with the wheel. Without a compiler there is a wheel all the same."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

PACKAGE = "rdv/native"
MODULE = f"{PACKAGE}/_native.abi3.so"
FLAGS = ["-std=c11", "-O2", "-g0", "-fvisibility=hidden", "-D_GNU_SOURCE"]


class NativeHook(BuildHookInterface[Any]):
    """`RDV_NATIVE=0` leaves it out, `RDV_NATIVE=require` fails when it cannot be built."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        wanted = os.environ.get("RDV_NATIVE", "")
        if self.target_name != "wheel" or wanted == "0":
            return
        try:
            self._compile()
        except Exception as error:
            if wanted == "require":
                raise
            self.app.display_warning(f"no C extension, rdv will be slower: {error}")
            return
        build_data["artifacts"].append(MODULE)
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"cp311-abi3-{platform}"

    def _compile(self) -> None:
        """Into the source tree: an editable installation finds it there, too."""
        sources = sorted(str(path) for path in Path(self.root, PACKAGE).glob("*.c"))
        extension = Extension(
            "rdv.native._native", sources, extra_compile_args=FLAGS, py_limited_api=True
        )
        command = build_ext(Distribution({"ext_modules": [extension]}))
        with tempfile.TemporaryDirectory() as scratch:
            command.build_temp, command.build_lib = scratch, scratch
            command.ensure_finalized()
            command.run()
            (built,) = Path(scratch).rglob("_native*.so")
            # Whole at once: processes may have the old one mapped, and others may build, too.
            target = Path(self.root, MODULE)
            fresh = target.with_name(f"_native.{os.getpid()}.so")
            fresh.write_bytes(built.read_bytes())
            fresh.chmod(0o755)
            fresh.rename(target)
