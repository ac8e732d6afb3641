"""All metrics by name: `metric_named("roc-auc")`, `metric_named("recall@fpr=0.01")`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rdv.analysis.metrics.classes import accuracy, balanced_accuracy, f1
from rdv.analysis.metrics.errors import InvalidMetric, UnknownMetric
from rdv.analysis.metrics.lists import hit_rate_at, list_precision_at, mrr_at, ndcg_at
from rdv.analysis.metrics.metric import Metric
from rdv.analysis.metrics.probability import BINS, brier, calibration_in, log_loss
from rdv.analysis.metrics.ranking import pr_auc, precision_at, recall_at, roc_auc
from rdv.analysis.metrics.regression import mae, pinball_at, rmse, value

_K_MAX = 10_000_000
_BINS_MAX = 1000
_CLASSES = "fewer than two classes among the known truths"
_GAIN = "no request has an item with a gain"
_NONE = "no request"

_PLAIN = {
    metric.name: metric
    for metric in (
        # name, needs, higher is better, is a mean, spread, unit, digits, title, undefined, measure
        Metric("accuracy", "class", True, True, "share", "%", 1, "accuracy", _CLASSES, accuracy),
        Metric(
            "balanced-accuracy",
            "class",
            True,
            False,
            "bounded",
            "%",
            1,
            "balanced accuracy",
            _CLASSES,
            balanced_accuracy,
        ),
        Metric("f1", "class", True, False, "bounded", "", 3, "F1", _CLASSES, f1),
        Metric("roc-auc", "score", True, False, "bounded", "", 4, "ROC AUC", _CLASSES, roc_auc),
        Metric("pr-auc", "score", True, False, "bounded", "", 4, "PR AUC", _CLASSES, pr_auc),
        Metric(
            "log-loss",
            "probability",
            False,
            True,
            "unbounded",
            "",
            4,
            "log loss",
            _CLASSES,
            log_loss,
        ),
        Metric(
            "brier", "probability", False, True, "bounded", "", 4, "Brier score", _CLASSES, brier
        ),
        Metric("mae", "number", False, True, "unbounded", "", 3, "mean absolute error", _NONE, mae),
        Metric(
            "rmse",
            "number",
            False,
            False,
            "unbounded",
            "",
            3,
            "root mean squared error",
            _NONE,
            rmse,
        ),
        Metric("value", "value", True, True, "unbounded", "", 2, "mean value", _NONE, value),
    )
}


@dataclass(frozen=True, slots=True)
class _Setting:
    """The number behind the @ of a name: its key, its range, and whether it must be whole."""

    key: str
    is_whole: bool
    low: float
    high: float
    example: str
    make: Callable[[float], Metric]
    default: float | None = None

    def read(self, name: str, text: str) -> float:
        """Return the setting in `text`, which is `key=number` or the number alone."""
        key, separator, number = text.rpartition("=")
        if separator and key != self.key:
            raise InvalidMetric(name, f"there is no setting {key!r}, only {self.key}", self.example)
        try:
            found = float(number)
        except ValueError:
            found = math.nan
        if self.is_whole and not (self.low <= found <= self.high and found == int(found)):
            reason = f"{self.key} must be a whole number from {self.low:,.0f} to {self.high:,.0f}"
            raise InvalidMetric(name, reason, self.example)
        if not self.is_whole and not self.low < found < self.high:
            reason = f"{self.key} must be a number between {self.low:g} and {self.high:g}"
            raise InvalidMetric(name, reason, self.example)
        return found


def _recall(rate: float) -> Metric:
    return Metric(
        f"recall@fpr={rate:.10g}",
        "score",
        True,
        False,
        "bounded",
        "%",
        1,
        f"recall at {100 * rate:g} % false positives",
        _CLASSES,
        recall_at(rate),
    )


def _precision(k: float) -> Metric:
    return Metric(
        f"precision@k={int(k)}",
        "score",
        True,
        False,
        "bounded",
        "%",
        1,
        f"precision at {int(k):,}",
        f"{_CLASSES}; fewer than {int(k):,} requests",
        precision_at(int(k)),
    )


def _calibration(bins: float) -> Metric:
    return Metric(
        "calibration" if bins == BINS else f"calibration@bins={int(bins)}",
        "probability",
        False,
        False,
        "bounded",
        "",
        4,
        "calibration error",
        f"{_CLASSES}; fewer than {int(bins)} requests",
        calibration_in(int(bins)),
    )


def _pinball(quantile: float) -> Metric:
    return Metric(
        f"pinball@{quantile:.10g}",
        "number",
        False,
        True,
        "unbounded",
        "",
        3,
        f"pinball loss at {quantile:g}",
        _NONE,
        pinball_at(quantile),
    )


def _ndcg(k: float) -> Metric:
    name = f"ndcg@{int(k)}"
    return Metric(
        name, "list", True, True, "bounded", "", 4, f"NDCG@{int(k)}", _GAIN, ndcg_at(int(k))
    )


def _hit_rate(k: float) -> Metric:
    name = f"hit-rate@{int(k)}"
    return Metric(
        name, "list", True, True, "share", "%", 1, f"hit rate@{int(k)}", _GAIN, hit_rate_at(int(k))
    )


def _list_precision(k: float) -> Metric:
    name, measure = f"list-precision@{int(k)}", list_precision_at(int(k))
    title = f"precision of the first {int(k)}"
    return Metric(name, "list", True, True, "bounded", "%", 1, title, _GAIN, measure)


def _mrr(k: float) -> Metric:
    cut = "" if k == _K_MAX else f"@{int(k)}"
    title = f"mean reciprocal rank{cut}"
    return Metric(f"mrr{cut}", "list", True, True, "bounded", "", 4, title, _GAIN, mrr_at(int(k)))


_SETTINGS = {
    "recall": _Setting("fpr", False, 0, 1, "recall@fpr=0.01", _recall),
    "precision": _Setting("k", True, 1, _K_MAX, "precision@k=100", _precision),
    "calibration": _Setting(
        "bins", True, 2, _BINS_MAX, "calibration@bins=20", _calibration, default=BINS
    ),
    "pinball": _Setting("q", False, 0, 1, "pinball@0.9", _pinball),
    "ndcg": _Setting("k", True, 1, _K_MAX, "ndcg@10", _ndcg),
    "hit-rate": _Setting("k", True, 1, _K_MAX, "hit-rate@5", _hit_rate),
    "list-precision": _Setting("k", True, 1, _K_MAX, "list-precision@5", _list_precision),
    "mrr": _Setting("k", True, 1, _K_MAX, "mrr@10", _mrr, default=_K_MAX),
}


def metric_named(name: str) -> Metric:
    """Return the metric of a name such as `f1`, `recall@fpr=0.01`, `precision@k=100` or `ndcg@10`.

    Capitals and the underscores of scikit-learn's names do not matter. Raises UnknownMetric, which
    names the nearest, and InvalidMetric for a setting that cannot be used.
    """
    base, separator, text = name.strip().lower().replace("_", "-").partition("@")
    if base in _PLAIN:
        if separator:
            raise InvalidMetric(name, "it has no setting", base)
        return _PLAIN[base]
    setting = _SETTINGS.get(base)
    if setting is None:
        raise UnknownMetric(name, metric_names())
    if not separator:
        if setting.default is None:
            raise InvalidMetric(name, f"{setting.key} is missing", setting.example)
        return setting.make(setting.default)
    return setting.make(setting.read(name, text))


def metric_names() -> tuple[str, ...]:
    """Return the names of all metrics; those that need a setting with an example of it."""
    with_setting = (
        base if setting.default is not None else setting.example
        for base, setting in _SETTINGS.items()
    )
    return tuple(sorted([*_PLAIN, *with_setting]))
