"""Models and enrichers get a clean environment: what a process needs to run, and no secrets.

The operator's shell may hold passwords, tokens and keys of cloud accounts. Further variables are
passed on by their names: `env` in rdv.toml, for all models or for one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

NAMES = frozenset((
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
))  # fmt: skip
PREFIXES = (
    "LC_", "LD_", "DYLD_", "PYTHON", "CONDA_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_",
    "BLIS_", "VECLIB_", "NUMEXPR_", "CUDA_", "NVIDIA_", "RDV_",
)  # fmt: skip


SECRET = frozenset(("RDV_MLFLOW_TRACKING_URI",))
"""Variables of rdv that may contain a password: only the process that needs them gets them."""


def is_passed(name: str, more: Collection[str] = ()) -> bool:
    """Return whether a variable is passed on; `more` are the names from rdv.toml."""
    if name in SECRET:
        return name in more
    return name in NAMES or name.startswith(PREFIXES) or name in more


def clean_environment(environ: Mapping[str, str], more: Collection[str] = ()) -> dict[str, str]:
    """Return the variables of `environ` that are passed on. Pure."""
    return {name: value for name, value in environ.items() if is_passed(name, more)}
