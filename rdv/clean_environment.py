"""The environment that models and enrichers get: what a process needs to run, not what the
operator's shell happens to hold (passwords, tokens, keys of cloud accounts).

More is passed on by its name: `env` in rdv.toml, for all models or for one.
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


def is_passed(name: str, more: Collection[str] = ()) -> bool:
    """Whether a variable is passed on; `more` are the names that rdv.toml gives."""
    return name in NAMES or name.startswith(PREFIXES) or name in more


def clean_environment(environ: Mapping[str, str], more: Collection[str] = ()) -> dict[str, str]:
    """Those variables of `environ` that are passed on. Pure."""
    return {name: value for name, value in environ.items() if is_passed(name, more)}
